"""The report as one HTML file that needs nothing else."""

from scene.evaluation.page.page import page_html

__all__ = ["page_html"]
