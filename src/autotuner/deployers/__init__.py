"""Where servers run: one module or folder per platform, plus what several of them share."""
