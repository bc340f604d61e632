"""The published numbers (`paper.yaml`); what is measured here lies beside them. Holds no code."""
