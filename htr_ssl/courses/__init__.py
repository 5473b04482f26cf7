"""One command from a folder with a few transcribed lines to a model, its score, and the other lines read."""
