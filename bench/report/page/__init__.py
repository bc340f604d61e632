"""The report as one HTML file: tables, pictures, provenance, and ranked lists to look through.

The way in is `bench.report.page.make.make_page`. The file asks for nothing outside itself, which its content security
policy holds; tables and pictures need no JavaScript.
"""
