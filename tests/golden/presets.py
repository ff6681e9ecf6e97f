"""What the reference answers with the arguments that the presets stand for, on the golden checkpoints.

`presets.json` beside the folders has, for each preset and class, what `generate` gives: of BLIP with the
original's lengths, which count `[DEC]` and the prompt (`max_length`, `min_length`); of BLIP-2 with new
tokens, and with T5 the lengths as the Space and LAVIS hand them over, of which the reference counts the
decoder's start token. Answers whose smallest margin is below `SMALLEST_MARGIN` are left out.
"""

import json
import warnings
from pathlib import Path

import torch
import transformers

from blip import EACH, BlipReference, Shape
from checkpoints import QUESTION, Reference
from decoding import SMALLEST_MARGIN, Decoder, Margins

DEMO = {"num_beams": 3}
PAPER = {"num_beams": 5, "length_penalty": -1.0}
SPACE = {"num_beams": 5, "repetition_penalty": 1.5}
LENGTHS = {"blip-demo": [(20, 5), (10, 1)], "blip2-paper": [(30, 1), (10, 1)], "space": [(50, 1), (30, 1)]}
BLIP_QUESTION = "how many dogs are in the picture?"


def arguments(preset, is_answer, counting):
    if preset == "transformers":
        return {}
    options = {"blip-demo": DEMO, "blip2-paper": PAPER, "space": SPACE}[preset]
    most, least = LENGTHS[preset][is_answer]
    if counting == "new":
        return options | {"max_new_tokens": most, "min_new_tokens": least}
    if counting == "decoder" and preset == "blip2-paper":
        return options | {"max_new_tokens": most, "min_length": least}
    return options | {"max_length": most, "min_length": least}


def answered(model, inputs, options, margins):
    """The first answer's ids behind what stands in front, and the smallest margin."""
    margins.smallest, margins.stop_strings = float("inf"), False
    result = model.generate(
        **inputs, **{"do_sample": False} | options, output_logits=True, output_scores=True, return_dict_in_generate=True
    )
    margin = margins.smallest
    if "num_beams" in options:
        count = int((result.beam_indices[0] >= 0).sum())
        start = result.sequences.shape[1] - result.beam_indices.shape[1]
    else:
        best = torch.stack([step[0] for step in result.scores]).topk(2).values
        margin = min(margin, (best[:, 0] - best[:, 1]).min().item())
        count = len(result.logits)
        start = result.sequences.shape[1] - count
    return result.sequences[0, start : start + count].tolist(), margin


def of_blip(folder, margins):
    number = int(folder.name)
    shape = Shape.__new__(Shape)
    shape.number, shape.index, shape.task = number, number % EACH, "questions" if number >= EACH else "captions"
    reference = BlipReference(folder, shape, margins)
    is_answer = shape.task == "questions"
    positions = reference.model.config.text_config.max_position_embeddings
    for preset in ["transformers", "blip-demo", "blip2-paper", "space"]:
        options = arguments(preset, is_answer, "whole")
        if options.get("max_length", 20) > positions:
            continue
        # The demo's prompt ends in a space, which BERT's tokenizer does not read.
        text = BLIP_QUESTION if is_answer else "a picture of " if preset == "blip-demo" else None
        pixels, _ = reference.picture("picture-0.jpg")
        inputs = {"pixel_values": pixels}
        if text is not None:
            inputs |= {key: reference.ids(text)[key] for key in ("input_ids", "attention_mask")}
        ids, margin = answered(reference.model, inputs, options, margins)
        question = text if is_answer else None
        yield preset, question, reference.prompt_ids(text), ids, margin


def of_blip2(folder, margins):
    reference = Reference(folder)
    has_decoder = reference.model.language_model.config.is_encoder_decoder
    _, image = reference.picture("picture-0.jpg")
    for preset in ["transformers", "blip2-paper", "space"]:
        for question in [None, QUESTION]:
            options = arguments(preset, question is not None, "decoder" if has_decoder else "new")
            prompt = {"kind": "question" if question else "caption", "text": question}
            text = reference.text_of(prompt)
            inputs = reference.processor(images=image, text=text, return_tensors="pt")
            ids, margin = answered(reference.model, inputs, options, margins)
            prompt_ids = inputs["input_ids"][0].tolist() if text else reference.caption_ids()
            yield preset, question, prompt_ids, ids, margin


def write(golden: Path):
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    margins, kept, left_out = Margins(), [], 0
    # Two of each class have a config.json that Python does not read, on purpose.
    untidy = (4, 7)
    written = sorted((golden / "blip").iterdir())[: 2 * EACH]
    folders = [(folder, of_blip) for folder in written if int(folder.name) % EACH not in untidy]
    folders += [(folder, of_blip2) for folder in sorted((golden / "checkpoints").iterdir())[::2]]
    with torch.inference_mode():
        for folder, answers in folders:
            for preset, question, prompt_ids, ids, margin in answers(folder, margins):
                if margin < SMALLEST_MARGIN:
                    left_out += 1
                    continue
                kept.append({
                    "folder": f"{folder.parent.name}/{folder.name}", "picture": "picture-0.jpg", "preset": preset,
                    "question": question, "prompt_ids": prompt_ids, "token_ids": ids,
                })  # fmt: skip
    (golden / "presets.json").write_text(json.dumps(kept, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"presets: {len(kept)} answers, {left_out} left out for their margin", flush=True)
