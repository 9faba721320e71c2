package model

import "bytes"

// width is how long an array or object may be and still stand on one line.
const width = 100

// indent lays out compact JSON for people: what is short, and every array of plain values, stays on one line.
func indent(src []byte) []byte {
	var b bytes.Buffer
	layout(&b, bytes.TrimSpace(src), 0)
	b.WriteByte('\n')
	return b.Bytes()
}

func layout(b *bytes.Buffer, src []byte, depth int) {
	if len(src) < 3 || src[0] != '{' && src[0] != '[' || depth > 0 && (len(src) <= width || plain(src)) {
		b.Write(src)
		return
	}
	b.WriteByte(src[0])
	for i, part := range parts(src[1 : len(src)-1]) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		for range depth + 1 {
			b.WriteString("  ")
		}
		if src[0] == '{' {
			k := keyEnd(part)
			b.Write(part[:k])
			b.WriteString(": ")
			part = part[k+1:]
		}
		layout(b, part, depth+1)
	}
	b.WriteByte('\n')
	for range depth {
		b.WriteString("  ")
	}
	b.WriteByte(src[len(src)-1])
}

// plain says that an array holds neither arrays nor objects.
func plain(src []byte) bool {
	return src[0] == '[' && !bytes.ContainsAny(src[1:], "[{")
}

// parts splits the inside of an array or object at its own commas.
func parts(src []byte) [][]byte {
	var out [][]byte
	depth, start, quoted := 0, 0, false
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ',' && depth == 0:
			out = append(out, src[start:i])
			start = i + 1
		}
	}
	return append(out, src[start:])
}

// keyEnd returns where the key that src begins with ends.
func keyEnd(src []byte) int {
	for i := 1; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(src)
}
