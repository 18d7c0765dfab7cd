"""The verbs of the command `fx-pipeline`, a file each."""
