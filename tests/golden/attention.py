"""What the reference's answers looked at: attention in the golden checkpoints, with the answers that their
`expected.json` has given to the reference whole.

Read in the source of transformers 5.23 and confirmed here:

- The Q-Formers give `cross_attentions`, one of each layer that has cross-attention, `[1, heads, queries, 1 +
  patches]`; OPT, LLaMA and T5 give `attentions` and `cross_attentions` of each layer, `BlipTextModel` likewise.
- They do so with the attention called "eager" alone.

`attention.json` has the answers, a few of each checkpoint, and `attention.safetensors` of number N of them:

- `N/layer.I`: cross-attention to the picture, layer by layer; of large tensors every n-th number;
- `N/weights`: how much each token drew on each query, which is the mean over layers and heads of the language
  model's attention in the row that predicts the token;
- `N/maps`: the mean over layers and heads of the first, each token's weighted by the second, by patch; likewise
  thinned.
"""

import json
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from blip import EACH, BlipReference, Shape
from checkpoints import Reference
from instruct import InstructedReference

SAMPLE = 512
ANSWERS = 2


def thinned(tensor):
    values = tensor.float().flatten()
    return values[:: -(-values.numel() // SAMPLE)].contiguous()


def mean(layers):
    """[1, heads, rows, keys] a layer to [rows, keys]."""
    return torch.stack([layer[0].mean(0) for layer in layers]).mean(0)


def record(tensors, number, layers, weights):
    for index, layer in enumerate(layers):
        tensors[f"{number}/layer.{index}"] = thinned(layer[0])
    shares = weights / weights.sum(1, keepdim=True)
    tensors[f"{number}/weights"] = weights.float().contiguous()
    tensors[f"{number}/maps"] = thinned(shares @ mean(layers)[:, 1:])


def of_blip2(model, pixels, answer):
    prompt, ids = answer["prompt_ids"], answer["token_ids"]
    states = model.vision_model(pixels).last_hidden_state
    queries = model.query_tokens.expand(1, -1, -1)
    instruction = answer.get("instruction_ids") or []
    if instruction:
        text = torch.tensor([instruction])
        mask = torch.ones(1, queries.shape[1] + len(instruction), dtype=torch.long)
        looked = model.qformer(
            input_ids=text, attention_mask=mask, query_embeds=queries, encoder_hidden_states=states, output_attentions=True
        )
    else:
        looked = model.qformer(query_embeds=queries, encoder_hidden_states=states, output_attentions=True)
    seen = model.language_projection(looked.last_hidden_state[:, : queries.shape[1]])
    language = model.language_model
    embeds = language.get_input_embeddings()(torch.tensor([prompt]))
    embeds = torch.cat([seen.to(embeds.dtype), embeds[:, seen.shape[1] :]], 1)
    if language.config.is_encoder_decoder:
        start = [language.config.decoder_start_token_id or 0]
        out = language(
            inputs_embeds=embeds, decoder_input_ids=torch.tensor([start + ids[:-1]]), output_attentions=True
        )
        attended, first = out.cross_attentions, 0
    else:
        answered = language.get_input_embeddings()(torch.tensor([ids[:-1]], dtype=torch.long))
        out = language(inputs_embeds=torch.cat([embeds, answered], 1), output_attentions=True)
        attended, first = out.attentions, len(prompt) - 1
    weights = mean(attended)[first : first + len(ids), : seen.shape[1]]
    return looked.cross_attentions, weights


def of_caption(model, pixels, answer):
    states = model.vision_model(pixels).last_hidden_state
    prompt, ids = answer["prompt_ids"], answer["token_ids"]
    out = model.text_decoder(
        input_ids=torch.tensor([prompt + ids[:-1]]), encoder_hidden_states=states, output_attentions=True
    )
    layers = [layer[:, :, len(prompt) - 1 :] for layer in out.cross_attentions]
    return layers, torch.eye(len(ids))


def of_question(model, pixels, answer):
    states = model.vision_model(pixels).last_hidden_state
    question = torch.tensor([answer["prompt_ids"]])
    read = model.text_encoder(input_ids=question, encoder_hidden_states=states, output_attentions=True)
    ids = answer["token_ids"]
    start = [model.config.text_config.bos_token_id]
    out = model.text_decoder(
        input_ids=torch.tensor([start + ids[:-1]]), encoder_hidden_states=read.last_hidden_state, output_attentions=True
    )
    return read.cross_attentions, mean(out.cross_attentions)


def blip2_answers(folder, expected, instructed):
    reference = (InstructedReference if instructed else Reference)(folder)
    reference.model.set_attn_implementation("eager")
    for answer in expected["answers"]:
        name = expected["pictures"][answer["picture"]]["file"]
        pixels = reference.picture(name)[0]["pixel_values"]
        kept = {key: answer.get(key, []) for key in ("instruction_ids", "prompt_ids", "token_ids")}
        yield name, kept, lambda pixels=pixels, kept=kept: of_blip2(reference.model, pixels, kept)


def blip_answers(folder, expected):
    shape = Shape.__new__(Shape)
    shape.number = int(folder.name)
    shape.task = "questions" if shape.number >= EACH else "captions"
    reference = BlipReference(folder, shape, None)
    reference.model.set_attn_implementation("eager")
    looked_at = of_question if shape.task == "questions" else of_caption
    for answer in expected["answers"]:
        name, text = expected["pictures"][answer["picture"]]["file"], answer["text"]
        # The decoder's, which of an answer is its start token alone: what is asked is the question.
        prompt_ids = answer["prompt_ids"]
        if shape.task == "questions":
            prompt_ids = reference.ids(text)["input_ids"][0].tolist()
        kept = {"instruction_ids": [], "prompt_ids": prompt_ids, "token_ids": answer["sequences"][0]["token_ids"]}
        pixels, _ = reference.picture(name)
        yield name, kept, lambda pixels=pixels, kept=kept: looked_at(reference.model, pixels, kept)


def answers_of(folder):
    expected = json.loads((folder / "expected.json").read_text())
    if folder.parent.name == "blip":
        return blip_answers(folder, expected)
    return blip2_answers(folder, expected, folder.parent.name == "instruct")


def write(golden: Path):
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    # Two of each class have a config.json that Python does not read, on purpose.
    untidy = (4, 7)
    folders = [folder for folder in sorted((golden / "blip").iterdir())[: 2 * EACH] if int(folder.name) % EACH not in untidy]
    folders += sorted((golden / "checkpoints").iterdir())[::2] + sorted((golden / "instruct").iterdir())[::2]
    answers, tensors = [], {}
    with torch.inference_mode():
        for folder in folders:
            seen = set()
            for name, answer, looked_at in answers_of(folder):
                asked = (tuple(answer["prompt_ids"]), tuple(answer["instruction_ids"]))
                if len(answer["token_ids"]) < 2 or asked in seen or len(seen) == ANSWERS:
                    continue
                seen.add(asked)
                record(tensors, len(answers), *looked_at())
                answers.append({"folder": f"{folder.parent.name}/{folder.name}", "picture": name} | answer)
    (golden / "attention.json").write_text(json.dumps(answers, separators=(",", ":")) + "\n")
    save_file(tensors, golden / "attention.safetensors")
    print(f"attention: {len(answers)} answers", flush=True)
