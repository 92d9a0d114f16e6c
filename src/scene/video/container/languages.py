"""Languages of tracks in the form that a container has room for."""

from __future__ import annotations

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
