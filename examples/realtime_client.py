"""Translates a recording with the stock SDK of the realtime-translation protocol.

python examples/realtime_client.py http://localhost:8000/v1 fr-en-demo RECORDING
"""

import asyncio
import base64
import sys

import soundfile
import soxr
from openai import AsyncOpenAI


async def main(url: str, model: str, path: str) -> None:
    samples, rate = soundfile.read(path, dtype="float32")
    data = (soxr.resample(samples, rate, 24_000) * 32767).astype("<i2").tobytes()
    client = AsyncOpenAI(base_url=url, api_key="none")
    async with client.realtime.translations.connect(model=model) as connection:
        for start in range(0, len(data), 9600):  # 200 ms
            piece = base64.b64encode(data[start : start + 9600]).decode()
            await connection.session.input_audio_buffer.append(audio=piece)
        await connection.session.close()
        async for event in connection:
            if event.type == "session.output_transcript.delta":
                print(event.delta, end="", flush=True)
    print()


asyncio.run(main(*sys.argv[1:]))
