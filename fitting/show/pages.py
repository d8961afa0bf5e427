"""Pages from the templates in data/assets/pages, by Jinja2: every value is escaped, except `Markup`."""

import functools
import json
from importlib import resources

import jinja2
from markupsafe import Markup


def fill_page(template: str, **content: object) -> str:
    """Render a template of data/assets/pages; a missing variable raises jinja2.UndefinedError."""
    return _environment().get_template(template).render(**content)


def page_asset(name: str) -> Markup:
    """A style sheet or script of ours, which is not escaped."""
    return Markup(_text(name))


def script_safe_json(data: dict) -> Markup:
    """JSON for a script element, which no file name can close."""
    return Markup(json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _text(name: str) -> str:
    return resources.files("bodyfit.data").joinpath("assets", "pages", name).read_text(encoding="utf-8")
