"""Identifies the language of a text if it is certain: by script, and for Latin-script languages by function words."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import re
from collections import Counter
from collections.abc import Mapping

READ = 4_000  # characters at the beginning of a text that are used to identify its language

# Combining marks, and whole scripts that are written with them, without dandas and the baht sign.
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u0900-\u0963\u0966-\u0dff\u0e01-\u0e3e\u0e40-\u0eff\u1000-\u1049\u1780-\u17d3"
)
_UNSPACED = "\u0e01-\u0e3e\u0e40-\u0eff\u1000-\u1049\u1780-\u17d3\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])(?:[^\W_]|[{_MARKS}]))+")

_SCRIPTS: Mapping[str, str] = {
    "Latin": "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff",
    "Cyrillic": "\u0400-\u052f",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Arabic": "\u0620-\u064a\u066e-\u06d3\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc",
    "Hebrew": "\u05d0-\u05ea",
    "Han": "\u3400-\u9fff\uf900-\ufaff",
    "Kana": "\u3041-\u30ff",
    "Hangul": "\u1100-\u11ff\uac00-\ud7a3",
    "Devanagari": "\u0904-\u0939\u0958-\u0961",
    "Bengali": "\u0985-\u09b9",
    "Gurmukhi": "\u0a05-\u0a39",
    "Gujarati": "\u0a85-\u0ab9",
    "Tamil": "\u0b85-\u0bb9",
    "Telugu": "\u0c05-\u0c39",
    "Kannada": "\u0c85-\u0cb9",
    "Malayalam": "\u0d05-\u0d39",
    "Thai": "\u0e01-\u0e30",
    "Georgian": "\u10a0-\u10ff",
    "Armenian": "\u0531-\u0586",
    "Ethiopic": "\u1200-\u137f",
}
_LETTERS = {script: re.compile(f"[{ranges}]") for script, ranges in _SCRIPTS.items()}


def word_set(listed: str) -> frozenset[str]:
    """Splits a space-separated list into a set of words."""
    return frozenset(listed.split())


FUNCTION_WORDS: Mapping[str, frozenset[str]] = {
    language: word_set(listed)
    for language, listed in {
        "English": "the a an and or but of to in on at for with from by as is are was were be been has have had do does"
        " did not it its this that these those he she they we you i his her their our your my me him them us who which"
        " what when where why how if because than then there so can could will would should may might must also into"
        " about some any more most all",
        "German": "der die das den dem des ein eine einen einem einer eines und oder aber ist sind war waren wird"
        " werden"
        " wurde hat haben habe hatte nicht kein keine ich du er sie es wir ihr mich mir dich dir sich mein meine dein"
        " seine ihre unser zu im am vom zum zur auf aus bei mit nach von für über unter durch als wie wenn weil"
        " dass auch"
        " noch nur sehr man kann was wer wo warum welche",
        "French": "le la les un une des du de et ou mais est sont était être a ont avoir je tu il elle nous vous"
        " ils elles"
        " on ce cet cette ces mon ma mes ton ta tes son sa ses notre votre leur leurs qui que quoi dont où ne pas plus"
        " dans sur sous avec pour par sans chez au aux en très aussi comme si parce quand qu ai",
        "Spanish": "el la los las un una unos unas y o pero es son era ser está están ha han haber yo tú él ella"
        " nosotros"
        " ellos ellas mi mis tu tus su sus me te se nos le les lo que quien cual donde cuando como porque no más muy"
        " también de del al a en con por para sin sobre entre hasta desde este esta estos ese esa hay fue soy si",
        "Italian": "il lo la i gli le un uno una e o ma è sono era essere ha hanno avere io tu lui lei noi voi loro"
        " mio mia"
        " tuo suo sua che chi cui dove quando come perché non più molto anche di del della dello dei degli delle a al"
        " alla ai alle da dal dalla in nel nella con per su sul sulla tra fra si ci ne questo questa quello quella",
        "Portuguese": "o a os as um uma uns umas e ou mas é são era ser está estão foi há eu tu ele ela nós eles"
        " elas você"
        " meu minha seu sua seus suas me te se lhe que quem qual onde quando como porque não mais muito também de do da"
        " dos das ao à em no na nos nas com por pelo pela para sem sobre entre até este esta isso esse essa",
        "Dutch": "de het een en of maar is zijn was waren wordt worden werd heeft hebben niet geen ik jij je hij zij ze"
        " wij we jullie mij mijn jouw hun ons onze dit dat deze die wie wat waar wanneer hoe waarom omdat als dan ook"
        " nog maar heel van voor met op in aan bij naar uit over door om te er",
        "Swedish": "och eller men är var att det den de en ett som inte jag du han hon vi ni min din sin på av för"
        " med till"
        " från om har hade kan ska skulle när där här också mycket bara så vad vem varför detta dessa efter under"
        " mellan",
        "Danish": "og eller men er var at det den de en et som ikke jeg du han hun vi min din sin på af for med til"
        " fra om"
        " har havde kan skal skulle når hvor her også meget kun så hvad hvem hvorfor dette disse efter blev bliver",
        "Polish": "i w na z ze do się nie jest są był była było to ten ta te że jak co kto gdzie kiedy dlaczego ale lub"
        " albo oraz dla od po przez przed przy o u mnie mi ja ty on ona my wy oni jego jej ich tylko także bardzo"
        " być ma",
        "Turkish": "bir ve veya ama bu şu o ben sen biz siz onlar için ile gibi kadar çok daha en de da mi mı ne"
        " kim nerede"
        " neden nasıl var yok değil olarak olan sonra önce her ki ya",
        "Czech": "a i v ve na z ze do se si ne je jsou byl byla bylo to ten ta že jak co kdo kde kdy proč ale nebo"
        " pro od"
        " po při o u mi já ty on ona my vy jeho její jejich jen také velmi být má který která které",
        "Romanian": "și sau dar este sunt era a au un o unei unui al ai ale cu de la în pe din pentru prin nu mai"
        " foarte că"
        " care ce cine unde când cum eu tu el ea noi voi ei ele lui lor se să fi",
        "Hungarian": "a az egy és vagy de hogy nem is van volt vannak ez ezt azt én te ő mi ti ők ha mert mint csak"
        " már még"
        " nagyon ki hol mikor miért meg el",
        "Finnish": "ja tai mutta on ovat oli ei en et se ne hän minä sinä me te he tämä että joka kun jos koska"
        " kuin vain"
        " myös hyvin mikä kuka missä miksi ole",
        "Indonesian": "yang dan atau tetapi di ke dari untuk dengan pada adalah ini itu tidak akan sudah saya kamu"
        " dia kami"
        " mereka apa siapa bagaimana karena jika juga sangat dalam oleh ada bisa",
        "Vietnamese": "và hoặc nhưng là của có không được này đó tôi bạn anh chúng họ cho với trong trên từ để khi"
        " nếu vì"
        " cũng rất những các một người như thế",
        "Latin": "et est in non ad ut cum sed qui quae quod si ex ab de per atque enim nec aut esse sunt sit hoc"
        " quis eius"
        " autem etiam",
    }.items()
}

_KNOW = {
    word: [language for language, known in FUNCTION_WORDS.items() if word in known]
    for word in frozenset[str]().union(*FUNCTION_WORDS.values())
}

# Names that a prompt may use for a language, in English or in other languages -> the name that `identify` returns.
_CALLED: Mapping[str, str] = {
    **{language.casefold(): language for language in FUNCTION_WORDS},
    **dict.fromkeys(
        ("englisch", "anglais", "inglés", "inglese", "inglês", "engels", "英语", "英文", "英語"), "English"
    ),
    **dict.fromkeys(("deutsch", "allemand", "alemán", "tedesco", "alemão", "duits", "德语", "ドイツ語"), "German"),
    **dict.fromkeys(("français", "französisch", "francés", "francese", "francês", "法语", "フランス語"), "French"),
    **dict.fromkeys(("español", "castellano", "spanisch", "espagnol", "spagnolo", "espanhol", "西班牙语"), "Spanish"),
    **dict.fromkeys(("italiano", "italienisch", "italien"), "Italian"),
    **dict.fromkeys(("português", "portugiesisch", "portugais", "portugués"), "Portuguese"),
    **dict.fromkeys(("nederlands", "niederländisch", "flemish"), "Dutch"),
    **dict.fromkeys(("svenska", "schwedisch"), "Swedish"),
    **dict.fromkeys(("dansk", "norwegian", "norsk", "bokmål"), "Danish"),  # written with the same function words
    **dict.fromkeys(("polski", "polsku", "polnisch"), "Polish"),
    **dict.fromkeys(("türkçe", "türkisch"), "Turkish"),
    **dict.fromkeys(("lateinisch", "latein"), "Latin"),
    **dict.fromkeys(("russian", "russisch", "russe", "ruso", "русском", "русский", "ukrainian"), "Cyrillic"),
    **dict.fromkeys(("bulgarian", "macedonian", "belarusian", "kazakh", "українською", "cyrillic"), "Cyrillic"),
    **dict.fromkeys(("greek", "griechisch", "ελληνικά"), "Greek"),
    **dict.fromkeys(("arabic", "arabisch", "arabe", "farsi", "persian", "urdu", "العربية"), "Arabic"),
    **dict.fromkeys(("hebrew", "yiddish", "עברית"), "Hebrew"),
    **dict.fromkeys(("chinese", "mandarin", "cantonese", "chinesisch", "chinois", "chino", "中文", "汉语"), "Han"),
    **dict.fromkeys(("japanese", "japanisch", "japonais", "japonés", "日本語", "日语"), "Kana"),
    **dict.fromkeys(("korean", "koreanisch", "coréen", "coreano", "한국어"), "Hangul"),
    **dict.fromkeys(("hindi", "nepali", "marathi", "sanskrit", "हिन्दी", "हिंदी"), "Devanagari"),
    **{"bengali": "Bengali", "bangla": "Bengali", "punjabi": "Gurmukhi", "gujarati": "Gujarati", "tamil": "Tamil"},
    **{"telugu": "Telugu", "kannada": "Kannada", "malayalam": "Malayalam", "thai": "Thai", "georgian": "Georgian"},
    **{"armenian": "Armenian", "amharic": "Ethiopic"},
}
_NAME = "|".join(sorted(map(re.escape, _CALLED), key=len, reverse=True))
_TARGET = re.compile(
    # "Translate ... into X", "X translation", "Answer ... in X".
    rf"\btranslat\w*\b[^\n]{{0,300}}?\b(?:in)?to\s+(?:\w+\s+)?(?P<into>{_NAME})(?![a-zà-ÿ])"
    rf"|\b(?:answer|reply|respond|write|explain|describe|summari[sz]e)\b[^\n.?!]{{0,80}}?\bin\s+(?P<written>{_NAME})\b"
    rf"|^\s*in\s+(?P<leading>{_NAME})\s*[,:]"
    # The same in some other languages.
    rf"|\b(?:ins|auf)\s+(?P<german>{_NAME})\b|\ben\s+(?P<romance>français|español|anglais|inglés|allemand|alemán)\b"
    rf"|(?:翻译成|译成|用)(?P<chinese>{_NAME})",
    re.IGNORECASE,
)
# Prompts whose answer may be in another language: it quotes, names, sings or talks about something.
_UNCLEAR = re.compile(
    r"\b(?:accent|alphabet|anthem|begins?\b|bilingual|called\b|characters?\b|cipher|decod|decrypt|dialect"
    r"|first (?:line|sentence|words)|foreign|hymn|idioma|inscription|languag|langue|letters\b|lyric"
    r"|mean(?:s|ing)?\b|motto|opening|original|phrase|poem|prayer|pronounc|proverb|quot|recit|romani[sz]"
    r"|saying|says?\b|script|song|speaks?\b|spell|spoken|sprache|title|tradu|translat|transliterat|unscrambl"
    r"|verse|übersetz|перев|английск|engelsk|englann|ingiliz|tiếng anh|angol|englez|inggris|αγγλικ)|翻译|翻訳"
    r"|영어|英訳|英文|انجليز|إنجليز|अंग्रेज|อังกฤษ|אנגלית"
)


LATEX = re.compile(r"\$[^$\n]*\$|\\\[(?:(?!\\\[).)*?\\\]|\\\((?:(?!\\\().)*?\\\)|\\[a-zA-Z]+", re.DOTALL)


def words(text: str) -> list[str]:
    """Returns the words of a text, casefolded, without punctuation; single characters in scripts without spaces."""
    return _WORD.findall(text.casefold())


_UNSPACED_NAMES = [name for name in _CALLED if len(words(name)) > 1]


def scripts(text: str) -> dict[str, int]:
    """Counts the letters at the beginning of a text, by script."""
    text = text[:READ]
    if text.isascii():
        count = sum(map(str.isalpha, text))
        return {"Latin": count} if count else {}
    counts = {script: len(letters.findall(text)) for script, letters in _LETTERS.items()}
    return {script: count for script, count in counts.items() if count}


def identify(text: str, *, short: bool = False) -> str | None:
    """Returns the language of a text, or its script if that is enough ("Kana" is Japanese, "Han" is Chinese); None if
    it is not certain.

    Args:
      short: accept two function words of one language if there are none of another.
    """
    best, *others = _possible(text, short=short) or ("", "")
    return best if best and not others else None


def _possible(text: str, *, short: bool = False, share: float = 0.5) -> list[str]:
    """Returns the languages that a text may be in, the likeliest first; empty if nothing is certain. For Latin script
    these are all languages with more than `share` times the function words of the likeliest one."""
    text = LATEX.sub(" ", text[:READ])
    counts = scripts(text)
    total = sum(counts.values())
    script = max(counts, key=lambda name: counts[name], default="")
    if script in ("Han", "Kana"):
        han, kana = counts.get("Han", 0), counts.get("Kana", 0)
        if han + kana < max(4, 0.8 * total) or 0 < kana < 0.1 * (han + kana):
            return []
        return ["Kana" if kana else "Han"]
    if not script or counts[script] < max(6, 0.8 * total):
        return []
    return _by_function_words(words(text), short, share) if script == "Latin" else [script]


def _by_function_words(tokens: list[str], short: bool, share: float) -> list[str]:
    hits: dict[str, Counter[str]] = {}
    for word, times in Counter(tokens).items():
        for language in _KNOW.get(word, ()):
            hits.setdefault(language, Counter())[word] = times
    totals = Counter({language: known.total() for language, known in hits.items()}).most_common()
    if not totals:
        return []
    best, most = totals[0]
    if short and len(hits[best]) >= 2 and len(totals) == 1:
        return [best]
    enough = (len(tokens) >= 6 and most >= 0.25 * len(tokens)) or (len(tokens) >= 4 and most >= 0.5 * len(tokens))
    if not enough or len(hits[best]) < 3:
        return []
    return [language for language, count in totals if count > share * most or language == best]


def mentioned(text: str) -> set[str]:
    """Returns the languages whose names occur in a text, by the names that `identify` uses."""
    named = {_CALLED[word] for word in _CALLED.keys() & set(words(text))}
    return named if text.isascii() else named | {_CALLED[name] for name in _UNSPACED_NAMES if name in text}


def is_foreign(prompt: str, text: str) -> bool:
    """Tells whether a text is certainly in another language than its prompt asks for or, if it asks for none, than the
    prompt is written in."""
    actual = _possible(text, share=0.3)
    if not actual:
        return False
    own, named = identify(prompt, short=True), mentioned(prompt)
    if own in actual and not named:
        return False  # the usual case
    asked = {_CALLED[match[match.lastgroup or 0].casefold()] for match in _TARGET.finditer(prompt)}
    if asked:
        return len(asked) == 1 and _misses(next(iter(asked)), actual, text)
    if _UNCLEAR.search(prompt.lower()) or named & set(actual):
        return False
    if actual[0] in FUNCTION_WORDS:
        strange = FUNCTION_WORDS[actual[0]] - FUNCTION_WORDS.get(own or "", frozenset())
        return own is not None and own not in actual and len(strange & set(words(prompt))) < 2
    counts = scripts(prompt)
    letters = sum(counts.values())
    main = max(counts, key=lambda script: counts[script], default="")
    if len(words(text)) < 4 or letters < 12 or counts[main] < 0.97 * letters:
        return False  # perhaps a name, or a prompt in several languages
    return main not in (actual[0], *_WITH.get(actual[0], ()))


_WITH: Mapping[str, tuple[str, ...]] = {
    "Kana": ("Han",),
    "Han": ("Kana",),
}  # scripts that are mixed within one language
_HEDGE = re.compile(r"[\"“”«»„:()]|\b(?:sorry|cannot|can['’]t|won['’]t|unable|i['’]m not|as an ai)\b", re.IGNORECASE)


def _misses(asked: str, actual: list[str], text: str) -> bool:
    """Tells whether a text contains nothing in the language that is asked for. A text with quotation marks may contain
    it anyway, and a refusal may be right in any language."""
    if asked in actual or _HEDGE.search(text) or asked in mentioned(text):
        return False
    if asked in FUNCTION_WORDS:
        others = frozenset[str]().union(*(FUNCTION_WORDS.get(language, ()) for language in actual))
        return len(set(words(text)) & (FUNCTION_WORDS[asked] - others)) < 2
    return actual[0] in FUNCTION_WORDS or not scripts(text).keys() & {asked, *_WITH.get(asked, ())}
