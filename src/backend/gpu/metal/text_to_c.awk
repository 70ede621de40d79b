# text_to_c.awk - a text becomes the C array metal_text[], a line of it for each of the text.
BEGIN {
    print "/* Made by text_to_c.awk. */"
    print "#include \"backend/gpu/metal/metal_text.h\"\n"
    print "const char metal_text[] ="
}
{
    gsub(/\\/, "\\\\")
    gsub(/"/, "\\\"")
    print "    \"" $0 "\\n\""
}
END { print "    ;" }
