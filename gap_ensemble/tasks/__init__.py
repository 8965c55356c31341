"""What is predicted: a class, several labels, a grade, a number; and how a row of the submission reads."""
