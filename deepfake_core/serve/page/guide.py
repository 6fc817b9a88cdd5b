"""The long texts of the page."""

HOW_IT_WORKS = """
# How it works

1. **The file is read.** The format is found in the content, not in the name. A damaged or
   incomplete picture is not judged.
2. {shown}
3. **A neural network gives it a number.** It was trained on pictures of faces that were known to
   be photographs or to be generated. It looks for patterns that set these two groups apart. It
   knows nothing of the person, the scene or the news.{again}
4. **The number becomes a score from 0 to 1** that was calibrated: of the test pictures with a
   score near 0.8, about 80 in 100 were generated, in a test set with as many generated faces as
   photographs.
5. **Two lines turn the score into words.** Below {real_below} nothing counts as found, from
   {fake_from} on the picture is flagged. Between them the model says that it cannot tell.
6. **What is flagged gets a strength.** {scale}

A scan of a folder does the same with the same code. A picture gets the same score there and here.

## What it was made for

{made_for}
"""

FACES = """**The faces are found.** Each is turned upright and cut out at the {size} by {size}
   pixels that the network sees; finer details play no part in the verdict. A picture without a
   face, or with faces too small to judge, gets no score. The picture's verdict is that of the face
   with the strongest evidence."""

FRAME = """**The picture is made small.** It is turned upright and shrunk to the {size} by {size}
   pixels that the network sees. Finer details play no part in the verdict."""

AGAIN = """ Faces that it cannot clear go to a second,
   slower network, and the number is then made of both."""

MADE_FOR_FACES = """Faces that a camera took or a generator made as a whole. Swapped, retouched or
composed faces are not what it looks for, and are mostly missed. It says nothing of what surrounds
the face."""

MADE_FOR_FRAMES = """Pictures of one large face. On anything else, such as landscapes, groups,
drawings, screenshots of text or pictures of documents, it still gives a number, and that number
means nothing."""

HOW_TO_READ = """
# How to read a result

**Read the words first, then the score.** The words already include how sure the model must be.
The score tells you how far the picture is from the two lines.

**The score is not the chance that *this* picture is fake.** It was calibrated where half of the
pictures were fake. Where fakes are rare, most flagged pictures are photographs, even with a good
model. The table under *What if the line were elsewhere?* works that out for your case.

**Uncertain is an honest answer.** The model was built to say nothing rather than to guess. Do not
read a leaning into it.

**A low score is weaker than it looks.** New generators are missed more often than the figures
say, because the figures come from generators that were known when the model was made.

**The coloured picture is about the model, not about the face.** It shows which areas the score
depends on. It does not show where a picture was edited. When hiding those areas changes the score
no more than hiding others, the page says so and shows none.

**What the file says can be forged or missing.** A note of a generator is strong evidence that
the file came from one. No note is no evidence at all: most platforms strip such notes.

**One picture, one hint.** Compressing, cropping or photographing a screen changes the score. If
two copies of a picture get different words, treat it as uncertain.
"""

LOOK_CRITICALLY = """
# How to look at a picture critically

Start with the story, not with the pixels. Most pictures that mislead are real ones, shown with
the wrong caption.

## The source

- Who published it first? Is there an older copy with another caption?
- Can the person who took it be reached? Do they have the original file, and the pictures taken
  just before and after?
- Does the account that spread it have a history, or was it made last week?

## The scene

- Do the weather, the light, the shadows, the signs and the clothes fit the claimed time and
  place?
- Are there other pictures of the same moment from another side?

## The face

None of these proves anything, and good generators avoid all of them. Several together are a
reason to ask for the original.

- Earrings, glasses or collars that do not match left to right.
- Teeth that run together, or a pupil that is not round.
- Hair that melts into the background or into the skin.
- Letters on clothes or walls that spell nothing.
- Eyes exactly in the middle of the picture, as in portraits of one family of generators.
- Skin without pores beside hair with every strand sharp.
- A second face at the edge that falls apart.

## Yourself

- Do you want it to be true, or want it to be false? Ask somebody who does not care.
- Would the picture hold up if its author said that it is real, and showed you the camera?
"""

REPORT = """
# How to report a deepfake responsibly

**Before anything else: is somebody being hurt?** If a picture threatens, extorts or sexualises a
person, help that person first. Do not pass the picture on, not even to prove a point. Where a
child is shown, do not save or send it; in many countries having it is a crime. Tell the police or
your country's hotline.

1. **Keep evidence.** Note the address, the account, the date and time, and keep the original file
   if it is lawful to do so. The fingerprint (SHA-256) beside a verdict names
   the exact file.
2. **Tell the person shown**, if you can reach them. They should not learn of it from your article.
3. **Report it to the platform** where you found it, under its rule on manipulated or intimate
   media. Give the address, not a copy.
4. **Ask the other side.** Whoever is about to be called a forger gets the chance to answer, with
   time.
5. **Say what you know, and how.** For instance: *"Two software checks and a comparison with the
   agency's original suggest that the picture was generated. We could not find its author."* Not:
   *"AI proves fake."*
6. **Do not spread it by reporting it.** Show a part, cover the face, mark it across the picture,
   and leave out the link.
7. **Correct visibly** if you turn out to be wrong.

A verdict of this page may start such work. It must not be its only ground.
"""

PRIVACY = """
# Privacy

- **Nothing leaves this machine.** The page, the model and the fonts come from the computer that
  runs the command. No statistics are collected and no other host is asked for anything.
- **What you upload stays in memory.** It is not written to a disk, not even for a moment, and
  neither it nor its name is written to a log. It is gone when you remove it or, at the latest,
  a few minutes after you close the page.
- **Answers are kept only when you give them.** When you say whether a verdict is right, your
  answer, the verdict and the file's fingerprint (SHA-256) are kept. Of an upload neither the
  picture nor its name is kept, unless you tick the box that says that the picture is. Of a scan
  the verdict names the file, and later models may be tested on it where it lies.
- **Decisions in a review are kept with your name.** Each is a line in `{reports}/review.jsonl`:
  time, your name as you wrote it, the picture's fingerprint, what you decided, and why.
- **You can take it back.** `deepfake erase` with the fingerprint deletes what is kept about a
  picture.
- **Who can see this page?** By default only this computer. If it was started with another
  `--host`, everybody who reaches that address can use it, over a connection that is not
  encrypted, and can see the finished scans.

The results of scans lie in `{reports}`. They hold names of files, scores and fingerprints, and
reports may hold small pictures. Treat them like the pictures themselves.
"""
