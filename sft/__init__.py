"""`stage=sft`: supervised fine-tuning on instruction data.

stage.py       plan and report, as every stage has them
templates.py   how turns are written, and which of it is learnt
examples.py    the instruction rows of a corpus as token ids with a mark on each that is learnt
"""
