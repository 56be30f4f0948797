"""What models are worth: `python run.py stage=eval`. `stage.py` plans and reports; the modules beside it measure.

Write `from eval.x import y`: a bare `import eval` would hide Python's built-in function.
"""
