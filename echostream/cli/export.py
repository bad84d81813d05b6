"""`echostream export`: writes the ONNX graph of a model."""

from __future__ import annotations

import argparse

from echostream.cli.messages import print_error
from echostream.extras import extra

HELP = "write the step of a model as an ONNX graph, into its folder"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the command."""
    parser.add_argument("model", help="model folder")
    parser.add_argument(
        "--onnx", action="store_true", required=True, help="write step.onnx, for --backend onnx"
    )
    parser.add_argument(
        "--int8", action="store_true", help="also step.int8.onnx, for --backend onnx-int8"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the files and prints their names; 1 if the results of a graph are not PyTorch's.

    Progress goes to standard error.
    """
    from echostream.model_folder import open_folder

    open_folder(args.model)  # before what takes seconds to load
    with extra("export", "the export"):
        from echostream.backends.export import ExportError, export_model

    try:
        paths = export_model(
            args.model, int8=args.int8, report=lambda line: print_error(args, line)
        )
    except ExportError as error:
        print_error(args, str(error))
        return 1
    for path in paths:
        print(path)
    return 0
