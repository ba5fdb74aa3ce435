"""The site has every page of every shelf, and the same text each time."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from banach.compiler import telling

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("site_of_docs", ROOT / "docs" / "site.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.sources()
    assert found == module.sources()
    return found | {f"models/{name}.md": "" for name in module.gallery.ENTRIES}  # made by running the models


@pytest.mark.parametrize("kind", telling.KINDS)
def test_every_page_of_a_shelf_is_there(pages, kind):
    text = pages[f"reference/{kind}.md"]
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    listed = [entry for entry, _ in telling.listing(kind)[kind]]
    assert len(titles) == len(listed) >= 10
    assert all(title.startswith(entry) for title, entry in zip(titles, listed))


def test_what_the_menu_names_is_there(pages):
    def leaves(part):
        if isinstance(part, str):
            return [part]
        items = part.values() if isinstance(part, dict) else part
        return [leaf for item in items for leaf in leaves(item)]

    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert set(leaves(menu)) <= set(pages)


def test_links_lead_somewhere(pages):
    for name, text in pages.items():
        plain = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)#:]+\.md)\)", plain):
            assert str((Path(name).parent / link).as_posix()) in pages, (name, link)
