"""What is chosen by timing it on this computer: number format, threads, how much is read at once."""
