"""The language server: diagnostics and certificates as you type, pages on hover, names, definitions.

`banach lsp` speaks the protocol over standard input and output; pygls carries it, `editing` answers.
"""

from urllib.parse import unquote, urlparse

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from banach.compiler import editing
from banach.compiler.telling import version
from banach.ir.diagnostic import Diagnostic
from banach.ir.span import Span

_SEVERITY = {"error": types.DiagnosticSeverity.Error, "warning": types.DiagnosticSeverity.Warning}


def server() -> LanguageServer:
    """A server that has not started."""
    made = LanguageServer("banach", version())

    def publish(uri: str) -> None:
        text = made.workspace.get_text_document(uri).source
        finding = editing.examine(text, _path(uri))
        shown = [_diagnostic(found, text, uri) for found in finding.diagnostics]
        shown += [
            types.Diagnostic(
                _range(span, text), told, severity=types.DiagnosticSeverity.Information, source="banach"
            )
            for span, told in finding.verdicts
        ]
        made.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, shown))

    @made.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(parameters: types.DidOpenTextDocumentParams) -> None:
        publish(parameters.text_document.uri)

    @made.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(parameters: types.DidChangeTextDocumentParams) -> None:
        publish(parameters.text_document.uri)

    @made.feature(types.TEXT_DOCUMENT_HOVER)
    def hovered(parameters: types.HoverParams) -> types.Hover | None:
        uri, place = parameters.text_document.uri, parameters.position
        text = made.workspace.get_text_document(uri).source
        told = editing.hover(text, _path(uri), place.line + 1, place.character + 1)
        if told is None:
            return None
        return types.Hover(types.MarkupContent(types.MarkupKind.PlainText, told))

    @made.feature(types.TEXT_DOCUMENT_COMPLETION)
    def completed(parameters: types.CompletionParams) -> list[types.CompletionItem]:
        text = made.workspace.get_text_document(parameters.text_document.uri).source
        found = editing.completions(text, parameters.position.line + 1)
        return [types.CompletionItem(name, detail=told) for name, told in found]

    @made.feature(types.TEXT_DOCUMENT_DEFINITION)
    def defined(parameters: types.DefinitionParams) -> types.Location | None:
        uri, place = parameters.text_document.uri, parameters.position
        text = made.workspace.get_text_document(uri).source
        word = editing.word_at(text, place.line + 1, place.character + 1)
        found = editing.definition(text, word[0]) if word else None
        if word is None or found is None:
            return None
        start = types.Position(found[0] - 1, found[1] - 1)
        end = types.Position(found[0] - 1, found[1] - 1 + len(word[0]))
        return types.Location(uri, types.Range(start, end))

    return made


def _diagnostic(found: Diagnostic, text: str, uri: str) -> types.Diagnostic:
    parts = [found.message, found.label, found.why, f"help: {found.fix}" if found.fix else ""]
    notes = [
        types.DiagnosticRelatedInformation(types.Location(uri, _range(span, text)), told)
        for span, told in found.notes
        if found.span is not None and span.file == found.span.file
    ]
    return types.Diagnostic(
        _range(found.span, text),
        "\n".join(part for part in parts if part),
        severity=_SEVERITY[found.severity],
        code=found.code.id,
        source="banach",
        related_information=notes or None,
    )


def _range(span: Span | None, text: str) -> types.Range:
    """A span as the protocol has it: from 0, inside the text."""
    if span is None:
        return types.Range(types.Position(0, 0), types.Position(0, 1))
    last = text.count("\n")
    start = types.Position(min(span.line - 1, last), span.column - 1)
    return types.Range(start, types.Position(min(span.end_line - 1, last), span.end_column - 1))


def _path(uri: str) -> str:
    return unquote(urlparse(uri).path)
