"""The study file: text to StudySpec and back, with every problem located."""
