"""Text to write: a few embedded phrases, and character n-grams that make new words and lines like those of a text."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from htr_ssl.errors import UserError

PHRASES = tuple(
    unicodedata.normalize("NFC", line)
    for line in """
Je soussigné, demeurant à Lyon, rue de la République, n° 14
déclare révoquer tout testament antérieur au présent acte
Fait à Orléans le 23 juillet 1887, en double exemplaire
l'an mil huit cent soixante-douze et le quinze février
par devant nous, maître Étienne Girard, notaire royal
a comparu le sieur Jacques Lefèvre, laboureur, âgé de 46 ans
lequel nous a dit et déclaré ce qui suit : savoir
que son épouse Marie-Thérèse est décédée hier à onze heures
Je lègue à mon frère Auguste la maison que j'habite
ainsi que les meubles, l'argenterie et le linge qu'elle contient
une pièce de terre située au lieu-dit les Grands Champs
tenant du levant à la forêt, du couchant au chemin vicinal
contenant environ deux hectares, cinquante ares
moyennant le prix principal de 1 250 francs, payé comptant
Ma chère mère, j'espère que ma lettre vous trouvera en bonne santé
Nous sommes toujours au même endroit, il fait très froid
Embrassez bien pour moi mes sœurs et toute la famille
J'ai reçu hier votre colis, où rien ne manquait, merci !
Le régiment part demain matin ; où irons-nous ? Nul ne le sait
Votre fils dévoué qui vous aime de tout son cœur
Monsieur le Préfet, j'ai l'honneur de vous adresser ci-joint
le procès-verbal de la séance du conseil municipal
Présents : MM. Dubois, Moreau, Vasseur, Petit et Wagner, adjoint
Considérant que l'état des chemins exige de prompts travaux
le conseil, après en avoir délibéré, approuve à l'unanimité
Reçu de Mme veuve Blanchard la somme de 375 fr. 60
pour loyer échu au 1er octobre dernier, dont quittance
Acte de naissance de Louise Joséphine, née le 8 de ce mois
fille légitime de Pierre Noël, tisserand, et de Zoé Hubert
les témoins ont signé avec nous après lecture faite
Le demandeur réclame 40 francs pour façon de robes et manteaux
le défendeur, quoique dûment appelé, n'a point comparu
Par ces motifs, le tribunal condamne Boyer aux dépens
L'ouvrière affirme avoir travaillé chez lui pendant six semaines
il y a lieu de renvoyer la cause à l'audience prochaine
Inventaire des effets trouvés dans le coffre de la cuisine
douze chemises, huit draps de toile, quatre nappes usées
un vieux buffet de chêne, deux chaises et une table ronde
trois vaches, un bœuf, vingt brebis, une jument baie
Le vin de cette année sera bon, le blé est déjà vendu
Aujourd'hui vendredi, ciel couvert, vent d'ouest, pluie fine
mercredi 19 : marché à Quimper, acheté du sel et du café
Nom, prénoms, âge, profession, domicile, observations
Au nom du Père, et du Fils, et du Saint-Esprit. Ainsi soit-il
Je désire être enterré sans pompe auprès de mes parents
C'est là ma dernière volonté, écrite en entier de ma main
Le capitaine Kerjean a été blessé près d'Ypres en mai 1915
maïs, Noël, ambiguë, aiguë, hôpital, fête, île, août, goûter
« Vous avez raison », répondit-elle, « mais il est trop tard »
I, the undersigned, being of sound mind, do make this my last will
To my beloved wife Elizabeth I give all my household goods
and the sum of £120 to be paid within six months of my death
Dear Brother, I take up my pen to write you a few lines
The weather has been very cold and the roads are bad
We hope you will come and stay with us before Christmas
Received of Mr. Joseph Whitaker the sum of ten shillings
Monday, June 3rd, 1861. Fine morning; wind from the south-west
The ship was lying in the harbour, waiting for the tide
Resolved, that the clerk write to the Board of Works
All accounts being examined, they were found correct & passed
John Quincy, aged 27, a native of Kent, by trade a joiner
Do you know what became of the old mill near the bridge?
I remain, Sir, your most obedient and humble servant
wheat, barley, oats, hay, wool, tallow, boxes of glass, zinc
He kept a journal, from which the following is taken
0 1 2 3 4 5 6 7 8 9 10 25 36 47 58 69 70 81 92 1903 1914 1876
""".strip().splitlines()
)
"""Lines as they stand in French and English archives."""

WORDS = tuple(word for line in PHRASES for word in line.split())
"""The words of `PHRASES`, as often as they occur."""


class Ngrams:
    """Character n-grams with back-off; a space is the edge of a word.

    Only characters that occur in the texts, and the space, are ever generated.

    Args:
        texts: words or lines.
        order: characters of context plus one; 0 repeats the words and lines of the texts as they are.
        repeat: share of the words that are words of the texts rather than made up.

    Raises:
        UserError: there is no text.
    """

    def __init__(self, texts: Sequence[str], order: int = 4, repeat: float = 0.25) -> None:
        self.order = order
        self.repeat = repeat
        self._texts = [" ".join(text.split()) for text in texts if text.strip()]
        if not self._texts:
            raise UserError("there is no text to learn n-grams from; give at least one word")
        self._words = [word for text in self._texts for word in text.split()]
        self._longest = max(map(len, self._words))
        counts: dict[str, Counter[str]] = {}
        for text in self._texts if order else ():
            edged = f" {text} "
            for end in range(1, len(edged)):
                for start in range(max(0, end - order + 1), end + 1):
                    counts.setdefault(edged[start:end], Counter())[edged[end]] += 1
        self._next = {context: (list(found), list(accumulate(found.values()))) for context, found in counts.items()}

    def words(self, rng: np.random.Generator, n: int) -> list[str]:
        """Words without spaces."""
        return [self._word(rng, " ").strip() for _ in range(n)]

    def lines(self, rng: np.random.Generator, n: int, characters: tuple[int, int] = (20, 60)) -> list[str]:
        """Lines of words; each ends with the first word that reaches a length drawn from the range [characters].

        With order 0 they are lines of the texts, of whatever length. A line is never longer than the range allows
        unless its first word is.
        """
        if not self.order:
            return [self._texts[int(i)] for i in rng.integers(len(self._texts), size=n)]
        return [self._line(rng, *characters) for _ in range(n)]

    def _line(self, rng: np.random.Generator, low: int, high: int) -> str:
        length = int(rng.integers(low, high + 1))
        line = self._word(rng, " ").strip()
        while len(line) < length:
            word = self._word(rng, f" {line} ").strip()
            if len(line) + 1 + len(word) > high:
                break
            line = f"{line} {word}"
        return line

    def _word(self, rng: np.random.Generator, before: str) -> str:
        """A word that may follow `before`, which ends with a space; a word of the texts if none gets made."""
        if self.order and rng.random() >= self.repeat:
            for _ in range(4):
                word = self._made(rng.random(2 * self._longest + 4).tolist(), before)
                if word.strip():
                    return word
        return self._words[int(rng.integers(len(self._words)))]

    def _made(self, draws: list[float], before: str) -> str:
        """Letters up to the next space; empty if the word gets too long."""
        written = before
        for i in range(0, len(draws) - 1, 2):
            context = written[-(self.order - 1) :] if self.order > 1 else ""
            # Contexts seen with a single continuation would copy the text: now and then they are shortened.
            while context and (
                context not in self._next or (len(self._next[context][0]) == 1 and draws[i] < 0.3 and len(context) > 1)
            ):
                context = context[1:]
            letters, totals = self._next[context]
            letter = letters[bisect_right(totals, int(draws[i + 1] * totals[-1]))]
            if letter == " " and len(written) > len(before):
                return written[len(before) :]
            if letter != " ":
                written += letter
        return ""
