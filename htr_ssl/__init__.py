"""Self-supervised handwriting recognition: pretrain on unlabelled lines, fine-tune with CTC on a few labels."""

__version__ = "0.1.0"
