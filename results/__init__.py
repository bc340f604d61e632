"""The published numbers, the paper's (`paper.yaml`) and others' since (`literature.yaml`); what is measured here lies
beside them. Holds no code.
"""
