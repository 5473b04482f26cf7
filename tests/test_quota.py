"""A container may see more processors than it is granted."""

import math

import pytest

from htr_ssl import environment


@pytest.mark.parametrize(
    ("own", "files", "wanted"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/gone\n", {}, math.inf),
        (
            "4:cpu,cpuacct:/docker/x\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("4:cpuset:/\n", {"cpuset/cpu.cfs_quota_us": "1", "cpuset/cpu.cfs_period_us": "1"}, math.inf),
        ("nonsense\n", {"cpu.max": "200000 100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "what is this\n"}, math.inf),
    ],
)
def test_the_smallest_grant_counts(tmp_path, own, files, wanted):
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    assert environment._quota(tmp_path / "root", tmp_path / "own") == wanted


def test_no_more_cores_are_used_than_are_granted(monkeypatch):
    seen = environment.cores()
    for grant, wanted in ((math.inf, seen), (0.5, 1), (1.0, 1), (1e6, seen)):
        monkeypatch.setattr(environment, "_quota", lambda grant=grant: grant)
        assert environment.cores() == wanted
