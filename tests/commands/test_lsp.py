"""The language server, by a scripted client over its standard input and output."""

import asyncio
import sys
from pathlib import Path

import pytest

types = pytest.importorskip("lsprotocol.types")
client_module = pytest.importorskip("pygls.lsp.client")

LASSO = Path(__file__).resolve().parents[2] / "specs" / "models" / "lasso.yaml"


class Session:
    """A client that keeps what the server publishes."""

    def __init__(self) -> None:
        self.client = client_module.LanguageClient("test", "1")
        self.published: asyncio.Queue = asyncio.Queue()

        @self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def _(parameters: types.PublishDiagnosticsParams) -> None:
            self.published.put_nowait(parameters.diagnostics)

    async def start(self) -> None:
        await self.client.start_io(sys.executable, "-m", "banach.compiler", "lsp")
        await self.client.initialize_async(types.InitializeParams(types.ClientCapabilities()))
        self.client.initialized(types.InitializedParams())

    async def open(self, text: str) -> list:
        document = types.TextDocumentItem(LASSO.as_uri(), types.LanguageKind.Yaml, 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(document))
        return await asyncio.wait_for(self.published.get(), 60)

    async def change(self, text: str) -> list:
        version = types.VersionedTextDocumentIdentifier(2, LASSO.as_uri())
        whole = types.TextDocumentContentChangeWholeDocument(text)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(version, [whole]))
        return await asyncio.wait_for(self.published.get(), 60)

    def at(self, text: str, word: str) -> tuple[object, object]:
        line = next(i for i, row in enumerate(text.split("\n")) if word in row)
        column = text.split("\n")[line].index(word)
        return types.TextDocumentIdentifier(LASSO.as_uri()), types.Position(line, column + 1)


async def conversation() -> None:
    session = Session()
    await session.start()
    text = LASSO.read_text("utf-8")
    (verdict,) = await session.open(text)
    assert verdict.severity == types.DiagnosticSeverity.Information and "proved" in verdict.message
    wrong = text.replace("1 / lipschitz", "3 / lipschitz")
    shown = await session.change(wrong)
    error = next(d for d in shown if d.severity == types.DiagnosticSeverity.Error)
    assert error.code == "B312" and error.range.start == types.Position(20, 10)
    misspelt = await session.change(text.replace("least_squares", "least_sqares"))
    assert misspelt[0].code == "B201" and "least_squares" in misspelt[0].message
    (cure,) = await session.client.text_document_code_action_async(
        types.CodeActionParams(
            types.TextDocumentIdentifier(LASSO.as_uri()),
            misspelt[0].range,
            types.CodeActionContext(misspelt),
        )
    )
    (edit,) = cure.edit.changes[LASSO.as_uri()]
    assert cure.title == "write `least_squares`" and edit.range == misspelt[0].range
    assert edit.new_text == "least_squares"
    await session.change(text)
    page = await session.client.text_document_hover_async(types.HoverParams(*session.at(text, "l1(lam)")))
    assert "weight" in page.contents.value
    place = await session.client.text_document_definition_async(
        types.DefinitionParams(*session.at(text, "lam)"))
    )
    assert text.split("\n")[place.range.start.line].startswith("  lam:")
    page = await session.client.text_document_definition_async(
        types.DefinitionParams(*session.at(text, "fista"))
    )
    assert page.uri.endswith("specs/solvers/fista.yaml") and page.range.start.line == 2
    document, position = session.at(text, "fista")
    found = await session.client.text_document_completion_async(types.CompletionParams(document, position))
    labels = {item.label for item in found}
    assert {"fista", "l1", "softmax", "lipschitz", "lam", "f"} <= labels
    outline = await session.client.text_document_document_symbol_async(types.DocumentSymbolParams(document))
    names = {(symbol.name, symbol.detail) for symbol in outline}
    assert {("n", "sizes"), ("lam", "parameters"), ("f", "operators"), ("x", "solve")} <= names
    await session.client.shutdown_async(None)
    session.client.exit(None)
    await session.client.stop()


def test_a_conversation() -> None:
    asyncio.run(asyncio.wait_for(conversation(), 120))


def test_pages_beside_a_spec_are_known(tmp_path: Path) -> None:
    from banach.compiler import editing

    text = "banach: 1\nlibrary: pages\ninputs: {x: real}\noperators:\n  T: halve()\noutputs: {y: T(x)}\n"
    name = str(tmp_path / "spec.yaml")
    assert "halve" not in dict(editing.completions(text, name, 5))
    (tmp_path / "pages/operators").mkdir(parents=True)
    page = "banach: 1\nlibrary: operators\noperator halve():\n  doc: Half of it.\n  source: textbook\n"
    page += "  returns(x): 0.5 * x\n  facts: {linear: true}\n  domain: real[3]\n  example: halve()\n"
    (tmp_path / "pages/operators/halve.yaml").write_text(page)
    assert dict(editing.completions(text, name, 5))["halve"] == "operator"
    assert "Half of it." in (editing.hover(text, name, 5, 7) or "")
    found = editing.page_place(text, name, "halve")
    assert found is not None and found[0] == tmp_path / "pages/operators/halve.yaml" and found[1].line == 3
