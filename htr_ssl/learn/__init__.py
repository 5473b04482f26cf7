"""One command from a folder with a few transcribed lines to a model, its score, and the other lines read."""

from htr_ssl.learn.course import Course, run

__all__ = ["Course", "run"]
