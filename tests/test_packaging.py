"""What is shown and installed with the package: the description, links and images, the citation, one version."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
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


def list_imported() -> dict[str, set[str]]:
    """Return the modules of other projects that the package imports anywhere, with the files that do."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_library", "find_library"):
                names = [str(node.args[0].value)] if isinstance(node.args[0], ast.Constant) else []
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(path.name)
    ours = {"neuronspec", *sys.stdlib_module_names}
    return {name: files for name, files in found.items() if name not in ours}


def list_declared() -> dict[str, str]:
    """Return the line of each dependency and of each library of an extra, by its normalized name."""
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(line for name in extras if name not in ("dev", "docs") for line in extras[name]),
    ]
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    names = {normalize(re.split(r"[\[<>=!~ ]", line)[0]): line for line in wanted}
    return {name: next(line for line in lines if f'"{wanted}"' in line) for name, wanted in names.items()}


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# Distributions that bring a module, where that is not the one of its name
BROUGHT_BY = {"pydantic_core": "pydantic"}


def test_everything_that_is_imported_is_declared() -> None:
    owners = {module: {normalize(name) for name in names} for module, names in packages_distributions().items()}
    declared = list_declared()
    for module, files in list_imported().items():
        # A worker runs in the environment of COMET; where a library is not installed, its module has its name.
        if files == {"comet_worker.py"}:
            continue
        names = owners.get(module, {normalize(module)}) | {BROUGHT_BY.get(module, "")}
        assert names & declared.keys(), f"{module}, imported by {', '.join(sorted(files))}, is no dependency"


def test_every_dependency_is_imported_or_says_why_it_is_one() -> None:
    owners = {module: {normalize(name) for name in names} for module, names in packages_distributions().items()}
    imported = {name for module in list_imported() for name in owners.get(module, {normalize(module)})}
    for name, line in list_declared().items():
        assert name in imported or "  # " in line, f"{name} is imported nowhere: say why it is needed, or remove it"
