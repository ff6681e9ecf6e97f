"""Writes half.json: how far the reference itself is from its f32 in half precision.

    python tests/golden/make.py half

For each golden checkpoint and dtype the reference reads picture, prompt and its own answer in one
pass, as in the golden files. At each step of each answer the difference of its logits from those
in f32 has a length, and so have the logits in f32, around their mean; what is written is the
largest quotient. Random models this small double a rounding a few times, each in its own
measure, which is why one tolerance would not do for all. `tests/it/parity.rs` takes it.
"""

import io
import json
from pathlib import Path

import torch
from PIL import Image, ImageOps
from transformers import Blip2ForConditionalGeneration, InstructBlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

CLASSES = {"checkpoints": Blip2ForConditionalGeneration, "instruct": InstructBlipForConditionalGeneration}
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}


@torch.inference_mode()
def logits(folder, expected, dtype):
    """The logits behind each step of each answer, in f64: a list of `[steps, vocabulary]`."""
    model_class = CLASSES[folder.parent.name]
    model = model_class.from_pretrained(folder, dtype=dtype).eval()
    processor = BlipImageProcessorPil.from_pretrained(folder)
    found = []
    for answer in expected["answers"]:
        picture = folder / expected["pictures"][answer["picture"]]["file"]
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(picture.read_bytes())))
        pixels = processor(image, return_tensors="pt").pixel_values.to(dtype)
        prompt, ids = answer["prompt_ids"], answer["token_ids"]
        instruction = [torch.tensor([answer["instruction_ids"]])] if "instruction_ids" in answer else []
        queries = model.get_image_features(pixels, *instruction, return_dict=True).pooler_output
        words = torch.tensor([prompt[queries.shape[1]:] + (ids[:-1] if is_decoder(model) else [])])
        # By hand, since a random model also says the picture's token.
        embeds = torch.cat([queries.to(dtype), model.get_input_embeddings()(words)], 1)
        if is_decoder(model):
            found.append(model.language_model(inputs_embeds=embeds).logits[0, len(prompt) - 1:].double())
        else:
            text = model.config.text_config
            start = getattr(text, "decoder_start_token_id", None)
            start = text.bos_token_id if start is None else start
            decoder_ids = torch.tensor([[start, *ids[:-1]]])
            found.append(model.language_model(inputs_embeds=embeds, decoder_input_ids=decoder_ids).logits[0].double())
    return found


def is_decoder(model):
    return not model.language_model.config.is_encoder_decoder


def check(expected, exact):
    """This pass is the one that the golden files were made by."""
    for answer, steps in zip(expected["answers"], exact):
        logprobs = torch.log_softmax(steps, -1)[range(len(steps)), answer["token_ids"]]
        assert (logprobs - torch.tensor(answer["logprobs"], dtype=torch.double)).abs().max() < 1e-3


def distance(exact, rounded):
    return max(
        ((b - a).norm(dim=-1) / (a - a.mean(-1, keepdim=True)).norm(dim=-1)).max().item()
        for a, b in zip(exact, rounded)
    )


def write(out: Path):
    distances = {}
    folders = [folder for name in CLASSES for folder in sorted((out / name).iterdir())]
    for folder in folders:
        expected = json.loads((folder / "expected.json").read_text())
        exact = logits(folder, expected, torch.float32)
        check(expected, exact)
        name_of_folder = folder.name if folder.parent.name == "checkpoints" else f"{folder.parent.name}/{folder.name}"
        distances[name_of_folder] = {
            name: float(f"{distance(exact, logits(folder, expected, dtype)):.2g}") for name, dtype in DTYPES.items()
        }
        print(f"{name_of_folder}: {distances[name_of_folder]} of the logits' spread in half precision", flush=True)
    lines = [f'  "{name}": {json.dumps(values)}' for name, values in distances.items()]
    (out / "half.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
