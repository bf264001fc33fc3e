"""Models as OpenVINO's own operations over their weights' file: nothing is traced, converted or copied.

One module reads one architecture: `vision_transformer`, `siglip`, `modified_resnet`, `text_transformer`. `model` says whether a
model is built of these, `layers` has what they share, `weights` the tensors, `names` what files call them.
"""
