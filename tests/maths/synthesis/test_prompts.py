import pytest

from services.maths.phantoms.captions import parse
from services.maths.synthesis.prompts import fill_template, template_fields

PAPER = "Short-axis cardiac MRI. {sex}, age in {age}, {bmi} BMI, {heart_failure}"


def test_fields_are_named_once_in_order_and_filled_where_they_stand():
    assert template_fields(PAPER + " {sex}") == ("sex", "age", "bmi", "heart_failure")
    words = {"sex": "Female", "age": "60s", "bmi": "obese", "heart_failure": "heart failure"}
    prompt = fill_template(PAPER, words)
    assert prompt == "Short-axis cardiac MRI. Female, age in 60s, obese BMI, heart failure"
    _, said = parse(prompt)
    assert said == {"sex": "Female", "age": "60s", "bmi": "obese", "diagnosis": "heart failure"}


def test_names_with_spaces_and_doubled_braces_are_taken_as_they_are():
    assert template_fields("{Pleural Effusion} {{kept}}") == ("Pleural Effusion",)
    assert fill_template("{Pleural Effusion} {{kept}}", {"Pleural Effusion": "fluid"}) == "fluid {kept}"


@pytest.mark.parametrize("template", ["{sex", "sex}", "{}", "{age:3d}", "{sex!r}"])
def test_braces_that_hold_no_plain_name_are_refused(template):
    with pytest.raises(ValueError):
        template_fields(template)
