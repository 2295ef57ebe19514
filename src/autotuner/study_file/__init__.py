"""Reading and writing of study files; each problem points to its place in the file."""
