"""A model as a file for other programs: ONNX, OpenVINO IR, or a program of torch.export, checked against the model."""

from scene.exporting.run import ExportRequest, ExportResult, export
from scene.graphs.formats import ExportFormat

__all__ = ["ExportFormat", "ExportRequest", "ExportResult", "export"]
