"""The page of a Gradio demo with a picture and a chat, and nothing behind it: what page.mjs compares Glimpse's with.

    python benches/gradio_page.py --port 7861
"""

import argparse

import gradio


def answer(message, history, picture):
    history = [*history, {"role": "user", "content": message}, {"role": "assistant", "content": "A picture."}]
    return "", history


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=7861)
    options = parser.parse_args()
    with gradio.Blocks(title="BLIP-2", analytics_enabled=False) as demo:
        with gradio.Row():
            picture = gradio.Image(type="pil", label="Picture")
            with gradio.Column():
                chat = gradio.Chatbot(label="Conversation")
                question = gradio.Textbox(label="Question")
        question.submit(answer, [question, chat, picture], [question, chat])
    demo.launch(server_name="127.0.0.1", server_port=options.port, quiet=True)


if __name__ == "__main__":
    main()
