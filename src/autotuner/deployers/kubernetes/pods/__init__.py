"""One pod of ours: what makes it, how far it is, how it ends, and how it is removed."""
