"""What is shown and installed with the package: the description, links and images, the citation, one version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

import neuronspec

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def describe_package() -> str:
    """Return the README as it is shown with the package: its links are replaced."""
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / fragment["path"]).read_text(encoding="utf-8") for fragment in hook["fragments"])
    for substitution in hook["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    return text


def test_links_and_images_of_the_description_lead_into_the_repository() -> None:
    repository = PROJECT["project"]["urls"]["Repository"]
    raw = repository.replace("github.com", "raw.githubusercontent.com")
    described = describe_package()

    links = re.findall(r"(!?)\[[^\]]*\]\(([^)#]+)\)", described)
    assert len(links) == len(re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    for is_image, target in links:
        start = f"{raw}/main/" if is_image else f"{repository}/blob/main/"
        assert target.startswith(start), target
        assert (ROOT / target.removeprefix(start)).exists(), target


def test_every_project_link_is_in_the_repository() -> None:
    urls = PROJECT["project"]["urls"]
    assert all(url.startswith(urls["Repository"]) for url in urls.values())


def test_the_citation_is_installed_and_has_the_version_of_the_package() -> None:
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {
        "CITATION.cff": "neuronspec/CITATION.cff"
    }
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["project"]["version"] == neuronspec.__version__
    assert citation["preferred-citation"]["title"].startswith("Neuron Specialization")


def test_the_readme_names_every_extra() -> None:
    extras = PROJECT["project"]["optional-dependencies"].keys() - {"dev"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| extra | adds |")[2].partition("\n\n")[0]
    first_column = re.findall(r"^\| (`[^|]*) \|", table, re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(first_column))) == extras
