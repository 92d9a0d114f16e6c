"""Tags of a file, and languages, titles and dispositions of its streams, as far as its container has room for them."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from av.stream import Disposition, Stream

from scene.video.container.digest import codec_name
from scene.video.container.formats import Container

log = logging.getLogger(__name__)

# ISO 639-1 to the code of ISO 639-2, in its bibliographic form where there are two.
_TWO_LETTERS = """
aa=aar ab=abk ae=ave af=afr ak=aka am=amh an=arg ar=ara as=asm av=ava ay=aym az=aze ba=bak be=bel bg=bul bi=bis bm=bam
bn=ben bo=tib br=bre bs=bos ca=cat ce=che ch=cha co=cos cr=cre cs=cze cu=chu cv=chv cy=wel da=dan de=ger dv=div dz=dzo
ee=ewe el=gre en=eng eo=epo es=spa et=est eu=baq fa=per ff=ful fi=fin fj=fij fo=fao fr=fre fy=fry ga=gle gd=gla gl=glg
gn=grn gu=guj gv=glv ha=hau he=heb hi=hin ho=hmo hr=hrv ht=hat hu=hun hy=arm hz=her ia=ina id=ind ie=ile ig=ibo ii=iii
ik=ipk io=ido is=ice it=ita iu=iku ja=jpn jv=jav ka=geo kg=kon ki=kik kj=kua kk=kaz kl=kal km=khm kn=kan ko=kor kr=kau
ks=kas ku=kur kv=kom kw=cor ky=kir la=lat lb=ltz lg=lug li=lim ln=lin lo=lao lt=lit lu=lub lv=lav mg=mlg mh=mah mi=mao
mk=mac ml=mal mn=mon mr=mar ms=may mt=mlt my=bur na=nau nb=nob nd=nde ne=nep ng=ndo nl=dut nn=nno no=nor nr=nbl nv=nav
ny=nya oc=oci oj=oji om=orm or=ori os=oss pa=pan pi=pli pl=pol ps=pus pt=por qu=que rm=roh rn=run ro=rum ru=rus rw=kin
sa=san sc=srd sd=snd se=sme sg=sag si=sin sk=slo sl=slv sm=smo sn=sna so=som sq=alb sr=srp ss=ssw st=sot su=sun sv=swe
sw=swa ta=tam te=tel tg=tgk th=tha ti=tir tk=tuk tl=tgl tn=tsn to=ton tr=tur ts=tso tt=tat tw=twi ty=tah ug=uig uk=ukr
ur=urd uz=uzb ve=ven vi=vie vo=vol wa=wln wo=wol xh=xho yi=yid yo=yor za=zha zh=chi zu=zul
"""

# The terminological form of ISO 639-2 where it differs, to the bibliographic one.
_TWO_FORMS = """
bod=tib ces=cze cym=wel deu=ger ell=gre eus=baq fas=per fra=fre hye=arm isl=ice kat=geo mkd=mac mri=mao msa=may
mya=bur nld=dut ron=rum slk=slo sqi=alb zho=chi
"""

# Codes for which QuickTime files have a number, as FFmpeg knows them.
_QUICKTIME = """
alb amh ara arm asm aym aze baq bel ben bul bur cat ces chi dan dut dzo eng epo est fin fra fre geo ger gre grn guj
heb hin hun ice ind ita jav jpn kan kas kaz khm kin kir kor kur lao lat lav lit mac mal mar may mlg mlt mon nep nor
nya ori orm pan per pol por pus que ron run rus san sin slk slv snd som spa swa swe tam tat tel tgk tgl tha tib tir
tuk tur uig ukr urd uzb vie wel yid
"""


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


_THREE_LETTERS = _pairs(_TWO_LETTERS)
_BIBLIOGRAPHIC = _pairs(_TWO_FORMS)
_TERMINOLOGICAL = {short: long for long, short in _BIBLIOGRAPHIC.items()}
_IN_QUICKTIME = frozenset(_QUICKTIME.split())


def container_language(language: str, muxer: str) -> str | None:
    """A language as the container can say it, None where it has no way to.

    Args:
        language: ISO 639-1, -2 or -3, or a tag of BCP 47, for example "de", "deu", "pt-BR".
        muxer: Matroska and WebM take all of these; mp4 and MPEG-TS three letters, mov a closed list of these.
    """
    if muxer in {"matroska", "webm"}:
        return language
    code = language.split("-")[0].lower()
    code = _THREE_LETTERS.get(code, code)
    if len(code) != 3 or not code.isascii() or not code.isalpha():
        return None
    if muxer != "mov":
        return code
    for known in (code, _BIBLIOGRAPHIC.get(code), _TERMINOLOGICAL.get(code)):
        if known in _IN_QUICKTIME:
            return known
    return None


# Tags that describe the source's file rather than its content, and would be untrue of the output.
_FILE_TAGS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "number_of_frames"}
    | {"number_of_bytes", "bps", "rotate", "vendor_id", "software"}
)
# What each container says in its own way, or what nobody would miss.
_TACIT = frozenset({"language", "title", "name", "handler_name", "creation_time", "filename", "mimetype"})
_SELF_EVIDENT = Disposition.default | Disposition.attached_pic | Disposition.timed_thumbnails


def copy_tags(source: Stream, target: Stream, container: Container, path: Path, without: str = "") -> None:
    """Gives a stream another one's language, title and other tags, and its disposition; warns of what is lost.

    Args:
        path: of the source, for messages.
        without: the key of a tag to leave out.
    """
    tags = {key: value for key, value in content_tags(source.metadata).items() if key.lower() != without}
    # What mp4 and mov call a track's name is its title elsewhere.
    if "name" in tags:
        tags.setdefault("title", tags.pop("name"))
    lost = []
    language = tags.get("language", "und")
    if language != "und":
        written = container_language(language, container.muxer)
        if written is None:
            del tags["language"]
            lost.append(f"language {language}")
        else:
            tags["language"] = written
            if "-" in language and written != language:
                lost.append(f"language {language} (kept as {written})")
    if not container.track_tags and "title" in tags:
        lost.append(f"title {tags['title']!r}")
    if container.tags is not None:
        kept = _TACIT | (container.tags & {"timecode"})
        lost += [f"tag {key}" for key in sorted(tags) if key.lower() not in kept]
    # The default one is chosen by place where a container has no flag for it.
    names = [d.name or "" for d in Disposition if d & source.disposition and d not in _SELF_EVIDENT]
    lost += [f"disposition {name}" for name in names if name not in container.dispositions]
    if lost:
        log.warning("%s: %s loses in %s files its %s.", path, describe(source), container.name, ", ".join(lost))
    target.metadata.update(tags)
    target.disposition = source.disposition


def content_tags(metadata: dict[str, str]) -> dict[str, str]:
    """The tags that are still true when a file is written anew."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower().split("-")[0] not in _FILE_TAGS and not key.startswith("_STATISTICS")
    }


def describe(stream: Stream) -> str:
    """A stream's name in messages, for example "stream 1 (aac audio)"."""
    return f"stream {stream.index} ({codec_name(stream)} {stream.type})"


# Containers with free keys have one for it.
_KEY = "SCENE"
_LINE = re.compile(r"^scene \d+\.\d+\S*; model .*$\n?", re.MULTILINE)
# Names of the second kind of tags in mp4 and mov begin with somebody's domain, backwards.
_OWN_KEY = re.compile(r"[A-Za-z][\w-]*(?:\.[\w-]+)+")
# What a transport stream's description of a programme has room for, in bytes.
_PROVIDER_BYTES = 200


def file_tags(
    source: dict[str, str], container: Container, made_with: str, path: Path, *, own_keys: bool = True
) -> dict[str, str]:
    """The global tags of an output; a warning names those of the source that are lost.

    Matroska and WebM get a tag of its own, SCENE. mp4 and mov know a closed list of keys, so there it is the last line
    of the comment. Transport streams have no tags but the names of a programme and its provider: it is the latter.
    What an earlier run has written is replaced.

    mp4 and mov have a second kind of tags with keys of their own, such as com.apple.quicktime.make. FFmpeg writes one
    kind or the other, so that all tags are of the second where the source has such keys, see `has_own_keys`.

    Args:
        made_with: "scene VERSION; model ...", on one line.
        own_keys: the output may have tags of the second kind.
    """
    tags = {_as_apple_writes(k): v for k, v in content_tags(source).items() if k.upper() != _KEY}
    # FFmpeg reads tags of mp4 that have a language twice, as "location" and as "location-eng".
    tags = {key: value for key, value in tags.items() if tags.get(key.rpartition("-")[0]) != value}
    comment = next((key for key in tags if key.lower() == "comment"), "comment")
    own = _LINE.sub("", tags.pop(comment, "")).strip("\n")
    if own:
        tags[comment] = own
    if container.tags is not None and not (own_keys and has_own_keys(tags, container)):
        lost = sorted(key for key in tags if key.lower() not in container.tags)
        if has_own_keys(tags, container):
            log.warning("%s: its tags %s cannot be written beside a cover by FFmpeg.", path, ", ".join(lost))
        elif lost:
            log.warning("%s: %s files cannot hold its tags %s.", path, container.name, ", ".join(lost))
        tags = {key: value for key, value in tags.items() if key not in lost}
    elif container.tags is not None:
        # Readers of pairs tell capitals from others.
        tags = {key.lower() if key.lower() in container.tags else key: value for key, value in tags.items()}
        comment = comment.lower()
    if container.tags is None:
        tags[_KEY] = made_with
    elif "comment" in container.tags:
        tags[comment] = f"{own}\n{made_with}".lstrip("\n")
    else:
        tags["service_provider"] = made_with.encode()[:_PROVIDER_BYTES].decode("utf-8", "ignore")
    return tags


def has_own_keys(tags: dict[str, str], container: Container) -> bool:
    """Whether tags are to be written as pairs of any key and value, the second kind of mp4 and mov."""
    return container.edit_lists and any(_OWN_KEY.fullmatch(key) for key in tags)


def _as_apple_writes(key: str) -> str:
    """A key of the second kind as it was before Matroska's muxer put it in capitals."""
    if not (key.isupper() and _OWN_KEY.fullmatch(key)):
        return key
    return key.lower().replace("iso6709", "ISO6709")
