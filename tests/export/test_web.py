"""The page of the kit, in a headless Chromium, as a person uses it."""

import base64
import io
import json
import struct
import subprocess
import urllib.error
import urllib.request
import zlib

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from pictures import as_trained_on, saved
from PIL import Image

from edgepriv.device import predict as kit
from edgepriv.measure.kit import write_kit

NO_GRAPHICS = "No available adapters."
"""What Chromium itself notes where a page asks for WebGPU on a machine without a graphics processor."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture
def serve(onnxruntime_web):
    """Start the kit's server beside a model, return the address."""
    started = []

    def start(model):
        web = model.parent / "device" / "web"
        (web / "node_modules").symlink_to(onnxruntime_web)
        command = ["node", str(web / "serve.mjs"), "--port", "0"]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1].stdout.readline().split()[0]

    yield start
    for process in started:
        process.terminate()
        process.communicate()


@pytest.fixture
def page(browser, serve):
    """Open the page of a model; what it does afterwards must leave no error and ask no other host."""
    addresses = []

    def show(model):
        addresses.append(serve(model))
        browser.errors.clear()
        browser.requested.clear()
        browser.open(addresses[-1])
        browser.wait("document.querySelector('#facts').textContent || !document.querySelector('#problem').hidden")
        return browser

    yield show
    told = [error for error in browser.errors if not error.startswith(NO_GRAPHICS)]
    assert told == []
    assert len(browser.requested) > 8
    assert {request.split("/")[2] for request in browser.requested} <= {address.split("/")[2] for address in addresses}


def text(page, selector):
    return page.value(f"document.querySelector('{selector}').textContent")


def click(page, selector):
    page.value(f"document.querySelector('{selector}').click()")


def verified(page):
    click(page, "#verify")
    page.wait("document.querySelector('#verified').className !== 'soft'")
    return page.value("document.querySelector('#verified').className"), text(page, "#verified")


def answer(page):
    """The label and the shown percentages by class."""
    page.wait("document.querySelector('#latency').textContent.includes(' ms for one example')")
    rows = page.value(
        "[...document.querySelectorAll('#bars li')].map((row) => [...row.children].map((e) => e.textContent))"
    )
    return text(page, "#label"), {name: float(value.rstrip("%")) for name, _, value in rows}


def png(path, pixels):
    """Write RGB bytes [height, width, 3] as a picture."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    content = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def shares(model, x):
    """Percentages by class from the Python kit."""
    session = kit.open_session(model)
    (row,) = kit.predict(session, kit.fit_inputs(session, x))
    return dict(zip(kit.class_names(session), 100 * row, strict=True))


def test_the_browser_of_these_tests_notices_errors_and_requests(browser):
    browser.errors.clear()
    browser.requested.clear()
    browser.open("data:text/html,<script>console.error('wrong')</script><img src='http://example.invalid/x.png'>")
    assert any("wrong" in error for error in browser.errors)
    assert "http://example.invalid/x.png" in browser.requested


def seen(page):
    """What the page shows as the model's inputs, uint8 [C, H, W]."""
    address = page.value("document.querySelector('#seen').toDataURL()")
    shown = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return np.asarray(shown.convert("RGB")).transpose(2, 0, 1)


def test_a_picture_is_classified_as_in_python_and_the_file_verifies(deployed, page, tmp_path):
    model = deployed()
    files = {name: path for name, path in saved(tmp_path).items() if name in ("turned-6.jpg", "opaque.png")}
    opened = page(model)
    for (name, path), x in zip(files.items(), as_trained_on(files, tmp_path, 3, (12, 12)), strict=True):
        opened.upload("#upload", path)
        opened.wait("document.querySelector('#latency').textContent.includes('resized to 12x12')")
        label, shown = answer(opened)
        np.testing.assert_array_equal(seen(opened), np.rint(255 * x), err_msg=name)
        expected = shares(model, x[None])
        assert label == max(expected, key=expected.get)
        assert shown == pytest.approx(expected, abs=0.1)
        assert ("rotated as their EXIF data say" in text(opened, "#latency")) == name.startswith("turned")
        click(opened, "#clear")
        opened.value("document.querySelector('#latency').textContent = ''")
    state, sentence = verified(opened)
    assert state == "good"
    assert sentence.startswith("The bytes are those that were shipped. 16 golden outputs agree within")
    assert text(opened, "#classes") == "bridge, cliff, forest, harbour, meadow"


def test_threads_run_it_where_the_page_is_isolated(pictured, page):
    model = pictured()
    write_kit(model)
    opened = page(model)
    threads = min(4, opened.value("navigator.hardwareConcurrency"))
    assert opened.value("crossOriginIsolated")
    assert ("one thread" if threads == 1 else f"{threads} threads") in text(opened, "#facts")
    assert verified(opened)[0] == "good"
    opened.open(opened.value("location.href") + "?threads=1")
    opened.wait("document.querySelector('#facts').textContent")
    assert "one thread" in text(opened, "#facts")
    opened.open(opened.value("location.href").replace("threads=1", "threads=many"))
    opened.wait("!document.querySelector('#problem').hidden")
    assert text(opened, "#problem") == "?threads=many: give a whole number from 1 up"


def test_light_and_dark_are_swapped(deployed, page, tmp_path):
    model = deployed()
    pixels = np.random.default_rng(6).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    opened = page(model)
    opened.upload("#upload", png(tmp_path / "noise.png", pixels))
    answer(opened)
    before = text(opened, "#bars")
    click(opened, "#invert")
    opened.wait(f"document.querySelector('#bars').textContent !== {json.dumps(before)}")
    assert answer(opened)[1] == pytest.approx(shares(model, 255 - pixels.transpose(2, 0, 1)[None]), abs=0.1)


def test_an_alpha_channel_is_not_swapped(deployed, page):
    opened = page(deployed())
    swapped = (
        "import('./picture.mjs').then(({inverted}) => [true, false].map((last) => "
        "[...inverted(Uint8Array.of(1, 2, 3, 255), {channels: 4, last})]))"
    )
    assert opened.value(swapped) == [[254, 253, 252, 255]] * 2


def test_a_drawing_is_classified(deployed, page):
    opened = page(deployed(input="uint8", output="logits"))
    box = opened.value(
        "(({x, y, width, height}) => [x, y, width, height])(document.querySelector('#drawing').getBoundingClientRect())"
    )
    opened.drag(*((box[0] + share * box[2], box[1] + 0.5 * box[3]) for share in np.linspace(0.2, 0.8, 12)))
    _, shown = answer(opened)
    assert sum(shown.values()) == pytest.approx(100, abs=0.5)
    seen = opened.value("[...document.querySelector('#seen').getContext('2d').getImageData(0, 6, 12, 1).data]")
    assert seen[4 * 6 : 4 * 6 + 3] != [0, 0, 0]
    assert seen[:3] == [0, 0, 0]
    assert verified(opened)[0] == "good"


def test_a_file_that_returns_labels(deployed, page, tmp_path):
    model = deployed(output="label")
    pixels = np.random.default_rng(7).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    opened = page(model)
    opened.upload("#upload", png(tmp_path / "noise.png", pixels))
    label, shown = answer(opened)
    session = kit.open_session(model)
    (expected,) = kit.predict(session, kit.fit_inputs(session, pixels.transpose(2, 0, 1)[None]))
    assert (label, shown) == (kit.class_names(session)[expected], {})
    assert verified(opened) == ("good", "The bytes are those that were shipped. 16 golden labels are the same.")


def test_numbers_are_typed_for_a_table(model, page):
    write_kit(model)
    opened = page(model)
    opened.value("document.querySelector('#values').value = '1, 0.5; 0.25'")
    click(opened, "#classify")
    assert answer(opened) == ("b", {"b": 95.3, "a": 4.7})
    opened.value("document.querySelector('#values').value = '1, 2'")
    click(opened, "#classify")
    opened.wait("!document.querySelector('#problem').hidden")
    assert text(opened, "#problem") == "there are 2 numbers, but the model takes 3"


def test_a_raw_row_is_typed_for_a_model_of_a_table(titanic, page):
    opened = page(titanic)
    assert opened.value("document.querySelector('#values').value") == "age,sex\n"
    opened.value("document.querySelector('#values').value = 'sex,age\\nF,12'")
    click(opened, "#classify")
    assert answer(opened) == ("b", {"b": 73.1, "a": 26.9})
    opened.wait("document.querySelector('#latency').textContent.includes('values beyond 17 to 90')")


def test_another_file_is_opened_but_does_not_verify(model, deployed, page):
    opened = page(deployed())
    opened.upload("#other", model)
    opened.wait("document.querySelector('#classes').textContent === 'a, b'")
    state, sentence = verified(opened)
    assert (state, sentence) == ("bad", "this is not the file that was shipped (its sha256 differs): copy it again")


def test_a_file_that_cannot_be_used_leaves_the_model_that_was_open(model_of, deployed, page):
    opened = page(deployed())
    opened.upload("#other", model_of("g (float[2, 3] a) => (float[2, 3] out) { out = Softmax(a) }"))
    opened.wait("!document.querySelector('#problem').hidden")
    assert text(opened, "#problem") == "the model takes 2 examples at once, not one"
    assert verified(opened)[0] == "good"


def test_the_server_hands_out_what_ships_and_nothing_else(model, serve):
    write_kit(model)
    (model.parent / "model.manifest.json").write_text("{}")
    address = serve(model)
    for place in ("", "model.onnx", "device/golden.json", "device/js/classifier.mjs", "device/web/app.mjs"):
        assert urllib.request.urlopen(address + place).status == 200
    for place in (
        "model.manifest.json",
        "device/web/serve.mjs",
        "device/web/../../model.manifest.json",
        "device/web/%2e%2e/%2e%2e/model.manifest.json",
        "device/web/node_modules/onnxruntime-web/dist/..%2f..%2f..%2f..%2f..%2f..%2fmodel.manifest.json",
        "device/web/node_modules/onnxruntime-web/package.json",
        "toString",
        "device/verify.py",
    ):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + place)
