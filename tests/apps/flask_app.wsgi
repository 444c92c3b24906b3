"""A small Flask application: session, form, upload, streaming, errors."""
import os

from flask import Flask, Response, abort, redirect, request, session, url_for

app = application = Flask(__name__)
app.secret_key = "for tests only"


@app.route("/")
def index():
    return {"script_root": request.script_root, "path": request.path, "url": request.url, "pid": os.getpid()}


@app.route("/hello/<name>")
def hello(name):
    return f"Hello, {name}!"


@app.route("/login", methods=["POST"])
def login():
    session["user"] = request.form["user"]
    return redirect(url_for("me"))


@app.route("/me")
def me():
    return session.get("user", "nobody")


@app.route("/upload", methods=["POST"])
def upload():
    file = request.files["file"]
    content = file.read()
    return {"name": file.filename, "length": len(content), "sum": sum(content)}


@app.route("/stream")
def stream():
    return Response((f"line {number}\n" for number in range(100)), mimetype="text/plain")


@app.route("/fails")
def fails():
    raise ValueError("a view failed")


@app.route("/missing")
def missing():
    abort(404)
