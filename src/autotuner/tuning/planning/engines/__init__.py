"""Studies that choose among several engines: each prepared by itself, and all as one."""
