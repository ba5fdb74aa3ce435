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
        uri = parameters.text_document.uri
        text = made.workspace.get_text_document(uri).source
        found = editing.completions(text, _path(uri), parameters.position.line + 1)
        return [types.CompletionItem(name, detail=told) for name, told in found]

    @made.feature(types.TEXT_DOCUMENT_DEFINITION)
    def defined(parameters: types.DefinitionParams) -> types.Location | None:
        uri, place = parameters.text_document.uri, parameters.position
        text = made.workspace.get_text_document(uri).source
        word = editing.word_at(text, place.line + 1, place.character + 1)
        if word is None:
            return None
        found = editing.definition(text, word[0])
        if found is None:
            page = editing.page_place(text, _path(uri), word[0])
            if page is None:
                return None
            file, span = page
            return types.Location(file.as_uri(), _range(span, file.read_text("utf-8")))
        start = types.Position(found[0] - 1, found[1] - 1)
        end = types.Position(found[0] - 1, found[1] - 1 + len(word[0]))
        return types.Location(uri, types.Range(start, end))

    @made.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def outlined(parameters: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        text = made.workspace.get_text_document(parameters.text_document.uri).source
        found = []
        for name, section, line, column in editing.symbols(text):
            place = types.Range(
                types.Position(line - 1, column - 1), types.Position(line - 1, column - 1 + len(name))
            )
            found.append(types.DocumentSymbol(name, _SYMBOLS[section], place, place, detail=section))
        return found

    @made.feature(types.TEXT_DOCUMENT_CODE_ACTION)
    def cured(parameters: types.CodeActionParams) -> list[types.CodeAction]:
        uri, asked = parameters.text_document.uri, parameters.range
        text = made.workspace.get_text_document(uri).source
        found = []
        for span, words, diagnostic in editing.cures(text, _path(uri)):
            place = _range(span, text)
            if place.start.line <= asked.end.line and asked.start.line <= place.end.line:
                edit = types.WorkspaceEdit(changes={uri: [types.TextEdit(place, words)]})
                found.append(
                    types.CodeAction(
                        f"write `{words}`",
                        kind=types.CodeActionKind.QuickFix,
                        diagnostics=[_diagnostic(diagnostic, text, uri)],
                        edit=edit,
                        is_preferred=True,
                    )
                )
        return found

    return made


_SYMBOLS = {
    "operators": types.SymbolKind.Function,
    "schedules": types.SymbolKind.Function,
    "solve": types.SymbolKind.Method,
    "scan": types.SymbolKind.Method,
    "parameters": types.SymbolKind.Constant,
    "sizes": types.SymbolKind.Number,
    "inputs": types.SymbolKind.Variable,
    "assume": types.SymbolKind.Property,
}


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
