"""The life of one pod: the object that makes it, its phases, its end, and its removal."""
