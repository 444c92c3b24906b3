"""C and Rust extensions, in whatever interpreter the server gives."""
import json

import cryptography.fernet
import numpy
import pydantic


class Order(pydantic.BaseModel):
    item: str
    count: int


def application(environ, start_response):
    key = cryptography.fernet.Fernet.generate_key()
    token = cryptography.fernet.Fernet(key).encrypt(b"secret")
    answer = {
        "numpy": float(numpy.dot(numpy.arange(10.0), numpy.ones(10))),
        "pydantic": Order(item="tea", count="3").count,
        "cryptography": cryptography.fernet.Fernet(key).decrypt(token).decode(),
        "group": environ["mod_wsgi.application_group"],
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
