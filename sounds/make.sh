#!/bin/sh
# Makes every voice clip and tone in clips/ from words.tsv, with espeak-ng and sox (Debian packages of these names).
#
#   sounds/make.sh                     makes all clips anew
#   sounds/make.sh text LANGUAGE KEY   prints what is spoken for one clip, and makes nothing
#   sounds/make.sh into FOLDER         makes all clips in another folder, to compare
#
# What is spoken comes from words.tsv alone. Speech is cleared of rumble, lifted above 3 kHz, compressed gently,
# trimmed, and set to -16 LUFS or to a peak of -1 dBFS, whichever comes first.
set -eu

here=$(dirname "$0")
clips=$here/clips
rate=22050
languages="ko en"
keys="admitted admitted-again code-used expired not-yet-valid unknown-issuer not-genuine not-a-code out-of-service"

# spoken LANGUAGE KEY: the wording, with what espeak-ng would misread spelt as it sounds
spoken() {
	awk -F '\t' -v lang="$1" -v key="$2" '
		NR == 1 { for (i = 2; i <= NF; i++) if ($i == lang) column = i }
		NR > 1 && $1 == key && column { text = $column; if (lang == "ko") gsub(/QR/, "큐알", text); print text; found = 1 }
		END { if (!found) { print "words.tsv: no text for " lang "/" key > "/dev/stderr"; exit 1 } }
	' "$here/words.tsv"
}

# level FILE: its loudness in LUFS: the two K-weighting filters of ITU-R BS.1770-4 at 48 kHz over all but the pauses.
level() {
	sox -R "$1" -n rate -h 48000 silence -l 1 0.02 -40d -1 0.05 -40d \
		biquad 1.53512485958697 -2.69169618940638 1.19839281085285 1 -1.69065929318241 0.73248077421585 \
		biquad 1 -2 1 1 -1.99004745483398 0.99007225036621 \
		stats 2>&1 | awk '/^RMS lev dB/ { print $4 - 0.691 }'
}

peak() { sox "$1" -n stats 2>&1 | awk '/^Pk lev dB/ { print $4 }'; }

# finish FILE CLIP: sets the level and writes 16-bit mono
finish() {
	gain=$(awk -v l="$(level "$1")" -v p="$(peak "$1")" 'BEGIN { g = -16 - l; if (p + g > -1.05) g = -1.05 - p; print g }')
	mkdir -p "$(dirname "$clips/$2")"
	sox -R "$1" -r $rate -c 1 -b 16 "$clips/$2" gain "$gain"
}

say() { # LANGUAGE KEY
	case $1 in
	ko) voice=ko+linda speed=160 ;;
	en) voice=en-us+linda speed=150 ;;
	esac
	spoken "$1" "$2" >"$work/text"
	espeak-ng -v $voice -s $speed -p 55 -f "$work/text" -w "$work/said.wav"
	sox -R "$work/said.wav" -b 32 -e floating-point "$work/clear.wav" gain -6 highpass 120 treble 4 3000 \
		compand 0.003,0.08 6:-60,-60,-30,-20,-12,-10,0,-7 0 -90 0.005 \
		silence 1 0.002 -50d reverse silence 1 0.02 -50d fade t 0.02 reverse fade t 0.002
	finish "$work/clear.wav" "$1/$2.wav"
}

# note HZ SECONDS FILE: a note with two overtones, so that a small loudspeaker renders the low ones too
note() {
	sox -R -n -r $rate -b 32 -e floating-point "$3" synth "$2" sine "$1" sine "$(($1 * 2))" sine "$(($1 * 3))" \
		remix 1v0.6,2v0.25,3v0.12 fade t 0.004 0 0.012
}

rest() { sox -R -n -r $rate -c 1 -b 32 -e floating-point "$2" trim 0 "$1"; }

tones() {
	# green: two rising notes, one after the other
	note 988 0.08 "$work/a.wav"
	note 1319 0.14 "$work/b.wav"
	sox "$work/a.wav" "$work/b.wav" "$work/green.wav"
	# amber: the same middle note twice, with a rest between
	note 659 0.085 "$work/a.wav"
	rest 0.06 "$work/r.wav"
	sox "$work/a.wav" "$work/r.wav" "$work/a.wav" "$work/amber.wav"
	# red: three short low notes
	note 370 0.055 "$work/a.wav"
	rest 0.04 "$work/r.wav"
	sox "$work/a.wav" "$work/r.wav" "$work/a.wav" "$work/r.wav" "$work/a.wav" "$work/red.wav"
	for light in green amber red; do finish "$work/$light.wav" "tone/$light.wav"; done
}

case ${1-} in
text)
	spoken "$2" "$3"
	exit
	;;
into) clips=$2 ;;
"") ;;
*)
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac

for tool in espeak-ng sox; do
	command -v $tool >/dev/null || {
		echo "$0: $tool is missing: apt-get install espeak-ng sox" >&2
		exit 1
	}
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tones
for language in $languages; do
	for key in $keys; do say "$language" "$key"; done
done

# What each clip says and which bytes say it, so that words and clips cannot drift apart unnoticed.
{
	for language in $languages; do
		for key in $keys; do
			printf '%s/%s\t%s\t%s\n' "$language" "$key" "$(sha256sum <"$clips/$language/$key.wav" | cut -d' ' -f1)" \
				"$(spoken "$language" "$key")"
		done
	done
} >"$clips/manifest.tsv"
echo "$(find "$clips" -name '*.wav' | wc -l) clips in $clips"
