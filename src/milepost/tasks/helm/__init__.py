"""HELM's scenarios as a source of questions: run entries in, HELM's own statistics out."""
