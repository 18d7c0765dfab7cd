"""The command `fx-pipeline ui`: the processes of the pipeline, who may reach them, and whether they are well."""
