"""Changes of PAGE and ALTO files that mean nothing change nothing: ids, order, empty elements, namespaces, units."""

import random
import re

import numpy as np
import pytest
from lxml import etree

from htr_ssl.layout.xml import read_xml

WIDTH, HEIGHT = 1000, 800


def lines_of(seed):
    """Regions of lines: (top, left, text), in reading order."""
    rng = random.Random(seed)
    regions, number = [], 0
    for _ in range(rng.randint(1, 3)):
        region = []
        for _ in range(rng.randint(1, 3)):
            region.append(
                (20 + 60 * number, 20 + 4 * rng.randint(0, 10), rng.choice(["un mot", "deux", "été 1858", "x"]))
            )
            number += 1
        regions.append(region)
    return regions


def page_xml(regions):
    """PAGE 2019 with reading order, outlines and baselines."""
    root = etree.Element("PcGts", nsmap={None: "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"})
    page = etree.SubElement(root, "Page", imageFilename="p.png", imageWidth=str(WIDTH), imageHeight=str(HEIGHT))
    group = etree.SubElement(etree.SubElement(page, "ReadingOrder"), "OrderedGroup", id="g")
    for rank, region in enumerate(regions):
        etree.SubElement(group, "RegionRefIndexed", index=str(rank), regionRef=f"r{rank}")
        block = etree.SubElement(page, "TextRegion", id=f"r{rank}", custom=f"readingOrder {{index:{rank};}}")
        top = region[0][0]
        etree.SubElement(
            block, "Coords", points=f"10,{top} 600,{top} 600,{top + 60 * len(region)} 10,{top + 60 * len(region)}"
        )
        for place, (top, left, text) in enumerate(region):
            line = etree.SubElement(block, "TextLine", id=f"r{rank}l{place}", custom=f"readingOrder {{index:{place};}}")
            right, low = left + 400, top + 40
            etree.SubElement(line, "Coords", points=f"{left},{top} {right},{top} {right},{low} {left},{low}")
            etree.SubElement(line, "Baseline", points=f"{left},{low - 10} {right},{low - 10}")
            etree.SubElement(etree.SubElement(line, "TextEquiv"), "Unicode").text = text
    return root


def alto_xml(regions):
    """ALTO 4 with outlines, baselines and words."""
    root = etree.Element("alto", nsmap={None: "http://www.loc.gov/standards/alto/ns-v4#"})
    description = etree.SubElement(root, "Description")
    etree.SubElement(description, "MeasurementUnit").text = "pixel"
    etree.SubElement(etree.SubElement(description, "sourceImageInformation"), "fileName").text = "p.png"
    page = etree.SubElement(etree.SubElement(root, "Layout"), "Page", ID="p", WIDTH=str(WIDTH), HEIGHT=str(HEIGHT))
    space = etree.SubElement(page, "PrintSpace", HPOS="0", VPOS="0", WIDTH=str(WIDTH), HEIGHT=str(HEIGHT))
    for rank, region in enumerate(regions):
        block = etree.SubElement(
            space, "TextBlock", ID=f"r{rank}", HPOS="10", VPOS=str(region[0][0]), WIDTH="600", HEIGHT="60"
        )
        for place, (top, left, text) in enumerate(region):
            box = {"HPOS": str(left), "VPOS": str(top), "WIDTH": "400", "HEIGHT": "40"}
            line = etree.SubElement(
                block, "TextLine", ID=f"r{rank}l{place}", **box, BASELINE=f"{left} {top + 30} {left + 400} {top + 30}"
            )
            for number, word in enumerate(text.split()):
                if number:
                    etree.SubElement(line, "SP")
                etree.SubElement(
                    line, "String", CONTENT=word, HPOS=str(left + 100 * number), VPOS=str(top), WIDTH="90", HEIGHT="40"
                )
    return root


def local(element):
    return etree.QName(element).localname


def rename_ids(root, rng):
    """Other ids, references included."""
    text = etree.tostring(root, encoding="unicode")
    names = {name: f"id_{rng.randrange(10**9)}" for name in re.findall(r'\b(?:id|ID)="([^"]*)"', text)}

    def new(match):
        return f'{match[1]}="{" ".join(names.get(name, name) for name in match[2].split())}"'

    return etree.fromstring(re.sub(r'\b(id|ID|regionRef|REF)="([^"]*)"', new, text))


def reorder_children(root, rng):
    """Children whose order the format does not use: the parts of a line, and metadata."""
    for element in root.iter("{*}TextLine"):
        parts = [child for child in element if isinstance(child.tag, str)]
        if all(local(child) in ("Coords", "Baseline", "TextEquiv") for child in parts):
            rng.shuffle(parts)
            element[:] = parts
    return root


def reorder_stated(root, rng):
    """Regions and lines whose order is stated elsewhere."""
    if local(root) != "PcGts":
        return root
    for element in root.iter("{*}Page", "{*}TextRegion"):
        moved = [
            child for child in element if isinstance(child.tag, str) and local(child) in ("TextRegion", "TextLine")
        ]
        rng.shuffle(moved)
        for child in moved:
            element.append(child)
    for group in root.iter("{*}OrderedGroup"):
        parts = list(group)
        rng.shuffle(parts)
        group[:] = parts
    return root


def add_empty(root, rng):
    """Elements that say nothing: empty regions, user-defined attributes, comments, unknown elements."""
    kind = "TextRegion" if local(root) == "PcGts" else "TextBlock"
    parent = next(root.iter("{*}Page" if kind == "TextRegion" else "{*}PrintSpace"))
    space = etree.QName(parent).namespace
    empty = etree.SubElement(parent, f"{{{space}}}{kind}" if space else kind)
    empty.set("id" if kind == "TextRegion" else "ID", "nothing")
    if kind == "TextRegion":
        etree.SubElement(empty, f"{{{space}}}Coords" if space else "Coords", points="0,0 1,0 1,1 0,1")
    for element in list(root.iter("{*}TextLine")):
        element.append(etree.Comment("note"))
        etree.SubElement(element, "{urn:other}Note").text = "of someone else"
    root.insert(rng.randint(0, 1), etree.Comment("head"))
    return root


def spaces(root, rng):
    """Layout of the file: indents and line breaks between the elements."""
    etree.indent(root, space=" " * rng.randint(0, 4))
    return root


def namespace(root, rng):
    """Another version's namespace, none, or a prefix."""
    text = etree.tostring(root, encoding="unicode")
    other = rng.choice(
        ["http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15", "urn:x", ""]
        if local(root) == "PcGts"
        else ["http://www.loc.gov/standards/alto/ns-v2#", "http://www.loc.gov/standards/alto/ns-v3#", ""]
    )
    text = re.sub(r' xmlns="[^"]*"', f' xmlns="{other}"' if other else "", text, count=1)
    if other and rng.random() < 0.5:
        text = re.sub(r"<(/?)([A-Za-z])", r"<\1p:\2", text).replace(' xmlns="', ' xmlns:p="', 1)
    return etree.fromstring(text)


def attributes(root, rng):
    """Attributes in another order, and one that is unknown."""
    for element in root.iter(etree.Element):
        pairs = list(element.attrib.items())
        rng.shuffle(pairs)
        element.attrib.clear()
        element.attrib.update([*pairs, ("vendor", "x")] if rng.random() < 0.3 else pairs)
    return root


def fractions(root, rng):
    """Numbers written in another way."""
    for element in root.iter(etree.Element):
        for name, value in element.attrib.items():
            if name in ("HPOS", "VPOS", "WIDTH", "HEIGHT"):
                element.set(name, rng.choice([value, f"{value}.0", f" {value} ".strip()]))
            elif name == "points":
                element.set(name, rng.choice([value, value.replace(" ", "  "), re.sub(r"(\d+)", r"\1.0", value)]))
    return root


def units(root, rng):
    """Lengths of ALTO in another unit, those of the page too."""
    stated = next(root.iter("{*}MeasurementUnit"), None)
    if stated is None:
        return root
    stated.text, factor = rng.choice([("inch1200", 4), ("inch1200", 3), ("mm10", 2), ("mm10", 1)])
    for element in root.iter(etree.Element):
        for name in {"HPOS", "VPOS", "WIDTH", "HEIGHT", "BASELINE", "POINTS"} & set(element.attrib):
            element.set(name, re.sub(r"\d+(\.\d+)?", lambda match: f"{float(match[0]) * factor:g}", element.get(name)))
    return root


CHANGES = [rename_ids, reorder_children, reorder_stated, add_empty, spaces, namespace, attributes, fractions, units]


def content(path):
    """Page and lines as they are on an image of `WIDTH` columns, whatever unit the file has."""
    page = read_xml(path)
    blocks = {}
    scale = WIDTH / page.width
    return (
        page.width * scale,
        page.height * scale,
        [
            (
                line.text,
                np.round(line.polygon * scale).astype(int).tolist(),
                None if line.baseline is None else np.round(line.baseline * scale).astype(int).tolist(),
                blocks.setdefault(line.region, len(blocks)),
                line.orientation,
            )
            for line in page.lines
        ],
    )


def store(folder, root):
    path = folder / "p.xml"
    path.write_bytes(etree.tostring(root, xml_declaration=True, encoding="utf-8"))
    return path


@pytest.mark.parametrize("make", [page_xml, alto_xml])
@pytest.mark.parametrize("change", CHANGES)
def test_one_change(make, change, tmp_path):
    for seed in range(8):
        wanted = content(store(tmp_path, make(lines_of(seed))))
        assert [text for text, *_ in wanted[2]] == [text for region in lines_of(seed) for _, _, text in region]
        assert content(store(tmp_path, change(make(lines_of(seed)), random.Random(seed)))) == wanted


@pytest.mark.parametrize("make", [page_xml, alto_xml])
def test_several_changes(make, tmp_path):
    for seed in range(40):
        rng = random.Random(seed)
        wanted = content(store(tmp_path, make(lines_of(seed))))
        root = make(lines_of(seed))
        chosen = rng.sample(CHANGES, 4)
        for change in chosen:
            root = change(root, rng)
        assert content(store(tmp_path, root)) == wanted, [change.__name__ for change in chosen]
