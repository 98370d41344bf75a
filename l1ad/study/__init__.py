"""Studies: a TOML file in, artefacts and a report page out."""
