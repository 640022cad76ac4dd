import base64
import dataclasses
import re
import subprocess
from html.parser import HTMLParser

import pytest

from services.errors import InvalidInput
from services.generator.report import Trace, counterfactual_page

VOID = {"meta", "img"}


class Tags(HTMLParser):
    """Every start tag with its attributes, and all text; fails on unbalanced elements."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def parsed(page):
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def words(page):
    return " ".join("".join(f"{text} " for text in parsed(page).text).split())


def changed(findings, **values):
    return counterfactual_page(dataclasses.replace(findings, **values))


def guided_at(findings, scale):
    spec = findings.record["spec"] | {"guidance": {"scale": scale}}
    return findings.record | {"spec": spec}


def test_page_says_first_what_moved_and_that_it_is_no_cause(findings):
    told = words(counterfactual_page(findings))
    assert "Counterfactual: race White → Black" in told
    assert "distance falls by 1.25 SD; grade rises by 0.50 SD." in told
    assert "Hardly moved (less than 0.1 SD): neck angle." in told
    assert (
        "The classifier's probability of race Black goes from 0.01 to 1.00, passing one half at frame 73 of 180."
        in told
    )
    assert "An association, not a cause." in told
    assert "must not be used for diagnosis" in told


def test_page_says_what_was_held_and_what_was_free(findings):
    told = words(counterfactual_page(findings))
    assert "Held Sex Female Noise the same in every frame" in told
    assert "Free Laterality: may move along with the change" in told
    assert "Held BMI 27" in words(changed(findings, held={"bmi": "27"}))
    assert "No attribute that the model knows" in words(changed(findings, free=()))


def test_exaggeration_stands_beside_the_unguided_effect_with_the_minoritys_share(findings):
    told = words(counterfactual_page(findings))
    assert "Distance −0.0400 −0.0500 × 1.25 0.0000 −0.0100 100 %" in told
    assert "The minority is Black (2.0 % of the training images)" in told
    # Neither a null feature's ratio nor the share of an excess that is none.
    assert "Neck angle +0.08 +0.10 – 0.00 +0.02 –" in told
    assert "Grade +0.50 +0.50 × 1.00 0.00 0.00 –" in told


def test_guidance_that_was_not_measured_is_a_warning_and_scale_one_is_said(findings):
    assert "what it adds was not measured" in words(changed(findings, unguided=None))
    told = words(changed(findings, unguided=None, record=guided_at(findings, 1.0)))
    assert "Guidance was off (scale 1)" in told
    assert "Guidance none" in told


def test_effects_stand_beside_the_cohorts_spread(findings):
    told = words(counterfactual_page(findings))
    assert "Distance half-widths 0.8400 0.7900 −0.0500 0.0400 −1.25 −1.00 0" in told
    assert "15 frames" in told
    assert "within groups of 2,000 phantoms" in told


def test_without_spreads_sizes_are_given_and_nothing_is_put_in_proportion(findings):
    told = words(changed(findings, spreads={}, spread_source=""))
    assert "no cohort was given" in told
    assert "−0.0500 – – −1.00" in told


def test_settings_and_record_are_there(findings):
    page = counterfactual_page(findings)
    told = words(page)
    for text in ("dpmpp-2m, 20 steps, seed 7", "scale 4, rescale 0.7", "pelvis-upscaler", "pelvis-race-classifier"):
        assert text in told
    assert findings.record["spec"]["model_digest"] in told


def test_video_is_embedded_or_linked_beside_the_page(findings):
    tags = dict(parsed(counterfactual_page(findings)).tags)
    assert base64.b64decode(tags["video"]["src"].removeprefix("data:video/mp4;base64,")) == findings.video
    linked = parsed(changed(findings, video=None, back_video_name="video-back.mp4")).tags
    assert dict(linked)["video"]["src"] == "./video.mp4"
    assert [attributes["href"] for tag, attributes in linked if tag == "a"] == ["./video.mp4", "./video-back.mp4"]


def test_pictures_are_embedded_and_described(findings):
    images = [attributes for tag, attributes in parsed(counterfactual_page(findings)).tags if tag == "img"]
    assert [base64.b64decode(image["src"].split(",")[1]) for image in images] == [
        findings.difference,
        findings.filmstrip,
    ]
    assert all(image["alt"] for image in images)


def test_page_asks_nothing_of_the_network_and_runs_no_script(findings):
    page = re.sub(r'"data:[^"]*"', '""', counterfactual_page(findings))
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page
    assert re.findall(r"https?://[^\"' <]+", page) == ["http://www.w3.org/2000/svg"]


def test_same_findings_give_the_same_page(findings):
    assert counterfactual_page(findings) == counterfactual_page(findings)


def test_hostile_names_are_text(findings):
    name = '"><script>alert(1)</script>\x00'
    page = changed(
        findings,
        display_name=name,
        source={name: name},
        target={name: name},
        held={name: name},
        free=[name],
        trace=Trace({name: [1.0, 2.0]}, {name: [0.1, 0.9]}, {name: name}),
        spreads={},
        warnings=[name],
        files={name: name},
        video_name="javascript:alert(1)",
        video=None,
    )
    assert "<script" not in page
    assert "\x00" not in page
    assert 'href="javascript' not in page
    parsed(page)


def test_ends_of_different_attributes_are_refused(findings):
    with pytest.raises(InvalidInput) as caught:
        dataclasses.replace(findings, target={"sex": "Male"})
    assert caught.value.field == "target"


@pytest.mark.browser
def test_a_browser_shows_the_page(findings, chromium, tmp_path):
    (tmp_path / "page.html").write_text(counterfactual_page(findings), encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={tmp_path}/page.png"]
    subprocess.run(
        [*command, f"file://{tmp_path}/page.html"], check=True, capture_output=True, timeout=120, cwd=tmp_path
    )
    assert (tmp_path / "page.png").stat().st_size > 10_000
