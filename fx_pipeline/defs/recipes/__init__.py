"""Recipes as Dagster components, a folder with a `defs.yaml` each: `dg scaffold defs` begins one (docs/recipes.md)."""
